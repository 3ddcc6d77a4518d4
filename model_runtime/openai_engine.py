"""An engine that others run: a server that speaks the OpenAI completions API, such as vLLM.

The server is given token ids and gives token ids back where it can; the tokenizer, the template and the rules of
reasoning are those of the prepared folder here. What an :class:`~model_runtime.protocol.Engine` promises beyond
drawing tokens is done on this side: where an answer stops, its thinking budget, and noticing that it goes in circles.

What it cannot promise: that an answer taken up after a loss has the sampled tokens it would have had, and that the
weights behind a server's name are those they were.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialogue.faults import EngineHung, EngineLost, ModelFault, OutOfMemory, ParleyFault
from model_runtime.admission import admit
from model_runtime.model_store import ModelManifest, verify
from model_runtime.openai_answer import Answer
from model_runtime.openai_client import CompletionsClient, Piece, Served
from model_runtime.protocol import Capacity, EngineDescription, Finish, GenerationRequest, Sampling, TokenEvent
from model_runtime.tokenizer import Tokenizer

__all__ = ["OpenAIEngine"]

_Item = TokenEvent | ParleyFault
_SEEDS = 2**31
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """One answer, what its reader has still to hear of it, and the task that asks the server."""

    answer: Answer
    items: asyncio.Queue[_Item]
    task: asyncio.Task[None]


class OpenAIEngine:
    """An :class:`~model_runtime.protocol.Engine` behind HTTP.

    ``model_folder`` holds tokenizer, configuration and template. ``served_name`` is the model's name at the server;
    ``None``: that of the folder, or the only one it serves. ``rows`` requests are in flight at most, others wait.
    ``widths``: the last bounds prompt and answer, in tokens, as the server's own context does. The key is read at each
    start from the variable ``api_key_env`` or the file ``api_key_file``, and stands in no log and no message.
    ``connect_seconds`` bound connecting, ``first_token_seconds`` and ``hang_seconds`` the wait for a token.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        base_url: str,
        served_name: str | None = None,
        rows: int = 8,
        widths: tuple[int, ...] = (1024,),
        api_key_env: str | None = None,
        api_key_file: Path | None = None,
        connect_seconds: float = 5.0,
        first_token_seconds: float = 120.0,
        hang_seconds: float = 60.0,
        max_waiting: int = 64,
    ) -> None:
        self._folder, self._base_url, self._served_name = Path(model_folder), base_url, served_name
        self._rows, self._longest, self._max_waiting = rows, max(widths), max_waiting
        self._api_key_env, self._api_key_file = api_key_env, api_key_file
        self._connect_seconds = connect_seconds
        self._seconds = {"first_seconds": first_token_seconds, "next_seconds": hang_seconds}
        self._client: CompletionsClient | None = None
        self._description: EngineDescription | None = None
        self._stale = False
        self._asking = asyncio.Lock()
        self._running: dict[str, _Running] = {}
        self._in_rows = asyncio.Semaphore(rows)
        self._busy = 0
        self._counters: Counter[str] = Counter()
        self._rows_in_steps: Counter[int] = Counter()
        self._finished: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        """What the start spent its time on."""

    # life

    async def start(self) -> None:
        """Asks the server for its model and for one token, by which it is seen whether it gives token ids."""
        async with self._asking:
            if self._client is not None:
                return
            began = time.monotonic()
            manifest = await asyncio.to_thread(verify, self._folder)
            self._tokenizer = Tokenizer.load(self._folder)
            self._vocabulary, self._eos = _config_of(self._folder, self._tokenizer)
            client = CompletionsClient(
                self._base_url, key=self._key(), seconds=self._connect_seconds, connections=self._rows
            )
            read = time.monotonic()
            try:
                await self._ask(client, manifest)
            except BaseException:
                await client.close()
                raise
            self._client = client
            self.seconds = {"files": round(read - began, 3), "server": round(time.monotonic() - read, 3)}

    async def _ask(self, client: CompletionsClient, manifest: ModelManifest) -> None:
        name = self._served_name or manifest.name
        self._served = await client.served(name, only=self._served_name is None)
        self._with_ids = await self._gives_ids(client)
        self._manifest, self._stale = manifest, False
        self._description = self._described(manifest, self._served, client.base_url)

    async def _gives_ids(self, client: CompletionsClient) -> bool:
        """Whether token ids come where they are asked for. A server that knows no such field may refuse it."""
        prompt = list(self._tokenizer.encode("Hello")[:1] or (0,))
        for self._with_ids in (True, False):
            body = self._body(prompt, Sampling(), position=0, room=1)
            try:
                async with aclosing(client.complete(body, **self._seconds)) as pieces:
                    return self._with_ids and all([piece.token_ids is not None async for piece in pieces])
            except ModelFault as fault:
                if not self._with_ids or fault.details.get("status") not in (400, 422):
                    raise
        return False

    def _key(self) -> str | None:
        where, key = "model.api_key_env", None
        if self._api_key_env is not None:
            key = os.environ.get(self._api_key_env)
            if not key:
                raise ModelFault(
                    f"model.api_key_env: the variable {self._api_key_env} is not set: set it, or model.api_key_file",
                    field=where,
                )
        elif self._api_key_file is not None:
            where = "model.api_key_file"
            try:
                key = self._api_key_file.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "no text"
                raise ModelFault(f"{where}: {self._api_key_file} cannot be read ({why})", field=where) from None
        if key is not None and not (key.isascii() and key.isprintable() and key and " " not in key):
            # said here, for the HTTP library would say it together with the key
            raise ModelFault(f"{where}: what it holds is no key of printable letters on one line", field=where)
        return key

    def _described(self, manifest: ModelManifest, served: Served, address: str) -> EngineDescription:
        longest = min(self._longest, manifest.context, served.context or manifest.context)
        decisive = [1, manifest.digest, served.server, served.version, served.id, served.root, longest, self._with_ids]
        return EngineDescription(
            engine="openai",
            model=manifest.name,
            model_digest=manifest.digest,
            engine_digest=hashlib.sha256(json.dumps(decisive).encode()).hexdigest(),
            mode="remote",
            rows=self._rows,
            widths=(longest,),
            dtype=f"as {' '.join(filter(None, (served.server, served.version))) or 'the server'} holds it",
            quantization=manifest.method,
            device=address,
            threads=0,
            context=manifest.context,
            languages=manifest.languages,
            reasoning=manifest.reasoning,
            eos_token_ids=self._eos,
            vocabulary=self._vocabulary,
            weight_bytes=0,
            token_ids="drawn" if self._with_ids else "text",
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        running = list(self._running.values())
        for each in running:
            each.task.cancel()
            each.items.put_nowait(EngineLost("the engine was closed"))
        if running:
            await asyncio.wait([each.task for each in running])
        if client is not None:
            await client.close()

    # the protocol

    async def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        if self._client is None or self._description is None:
            raise EngineLost("the engine is not running: start it first")
        longest = self._description.widths[-1]
        admit(request, vocabulary=self._vocabulary, longest=longest, running=self._running.keys())
        if len(self._running) >= self._rows + self._max_waiting:
            raise OutOfMemory(f"{len(self._running) - self._rows} requests wait for a row already: try again later")
        answer, items = self._answer(request, longest), asyncio.Queue[_Item]()
        task = asyncio.create_task(self._run(self._client, answer, items), name=f"answer {request.id}")
        self._running[request.id] = _Running(answer, items, task)
        self._counters["requests"] += 1
        ended = False
        try:
            while not ended:
                item = await items.get()
                if isinstance(item, ParleyFault):
                    ended = True
                    raise item
                if item.finish is not None:
                    ended = True
                    self._finished[item.finish] += 1
                yield item
        finally:
            if not ended:
                self._finished["cancelled"] += 1
                task.cancel()
            try:
                await asyncio.wait([task])
            finally:  # also where the reader is cancelled a second time
                del self._running[request.id]

    async def cancel(self, request_id: str) -> None:
        if (running := self._running.get(request_id)) is not None:
            running.task.cancel()
            running.items.put_nowait(TokenEvent(request_id, running.answer.told, (), "cancelled"))

    async def capacity(self) -> Capacity:
        longest = self._longest if self._description is None else self._description.widths[-1]
        return Capacity(
            rows=self._rows,
            rows_busy=self._busy,
            rows_limit=self._rows,
            longest_width=longest,
            free_bytes=0,
            waiting=max(0, len(self._running) - self._rows),
        )

    async def describe(self) -> EngineDescription:
        """What the server said at the start, or says now where a stream was lost since: it may be another one."""
        async with self._asking:
            if self._description is None:
                raise EngineLost("the engine was never started: start it first")
            if self._stale and self._client is not None:
                await self._ask(self._client, self._manifest)
            return self._description

    async def stats(self) -> dict[str, Any]:
        """``steps`` are events of streams, and a step's rows those in flight when it came."""
        return {
            **{name: self._counters[name] for name in ("requests", "steps", "tokens", "prefill_tokens")},
            "rows_in_steps": {str(rows): steps for rows, steps in sorted(self._rows_in_steps.items())},
            "max_rows_in_a_step": max(self._rows_in_steps, default=0),
            "finished": dict(self._finished),
            "cancelled": self._finished["cancelled"],
            "put_back": 0,
            "reused_tokens": 0,
            "rows_limit": self._rows,
            "cache_bytes": 0,
        }

    # one answer

    def _answer(self, request: GenerationRequest, longest: int) -> Answer:
        closing: tuple[int, ...] = ()
        if request.sampling.thinking_budget is not None:
            closing = request.sampling.end_of_thinking_ids or self._tokenizer.encode("\n</think>\n\n")
        stop = frozenset((*self._eos, *request.sampling.stop_token_ids))
        return Answer(request, longest, stop, closing, self._closes)

    def _closes(self, ids: list[int]) -> bool:
        return "</think>" in self._tokenizer.decode(ids, skip_special=False)

    async def _run(self, client: CompletionsClient, answer: Answer, items: asyncio.Queue[_Item]) -> None:
        """Puts in the answer's events, or the fault for which there is no more of them."""
        try:
            async with self._in_rows:
                self._busy += 1
                try:
                    async with aclosing(self._draw(client, answer)) as events:
                        async for event in events:
                            self._counters["tokens"] += len(event.token_ids)
                            items.put_nowait(event)
                finally:
                    self._busy -= 1
        except ParleyFault as fault:
            self._stale = self._stale or isinstance(fault, (EngineLost, EngineHung))
            items.put_nowait(fault)
        except Exception as error:
            _log.exception("an answer failed")
            items.put_nowait(EngineLost(f"the answer could not be read: {error!r}", alone=True))

    async def _draw(self, client: CompletionsClient, answer: Answer) -> AsyncGenerator[TokenEvent, None]:
        """One request to the server; and where the thinking budget is spent before reasoning is closed, the closing
        ids and another request behind them."""
        finish = answer.end()
        if finish is not None:
            yield answer.event(finish)
        while finish is None:
            if answer.due:
                finish = answer.close_reasoning()
                yield answer.event(finish)
                continue
            body = self._body(answer.ids, answer.request.sampling, position=len(answer.made), room=answer.room)
            self._counters["prefill_tokens"] += len(answer.ids)
            async with aclosing(client.complete(body, **self._seconds)) as pieces:
                async for piece in pieces:
                    self._counters["steps"] += 1
                    self._rows_in_steps[self._busy] += 1
                    finish = answer.take(self._ids(piece))
                    if finish is None and not answer.due:
                        finish = _finish(piece)
                    if finish is not None or len(answer.made) > answer.told:
                        yield answer.event(finish)
                    if finish is not None or answer.due:
                        break

    def _body(self, prompt: list[int], sampling: Sampling, *, position: int, room: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._served.id,
            "prompt": prompt,
            "max_tokens": room,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": _seed(sampling.seed, position),
            "stream": True,
        }
        if sampling.stop_token_ids:
            body["stop_token_ids"] = list(sampling.stop_token_ids)
        if self._with_ids:
            body["return_token_ids"] = True
        else:
            body["skip_special_tokens"] = False  # the closing tag is one for some models
        return body

    def _ids(self, piece: Piece) -> tuple[int, ...]:
        if not self._with_ids:
            return self._tokenizer.encode(piece.text)
        if piece.token_ids is None and piece.text:
            raise EngineLost(f"{self._base_url} gave token ids at first and now text alone", alone=True)
        return piece.token_ids or ()


def _finish(piece: Piece) -> Finish | None:
    if piece.finish is None or piece.finish == "stop" or piece.finish == "length":
        return piece.finish
    raise EngineLost(f"the server ended an answer with {piece.finish!r}: see its log", alone=True)


def _seed(seed: int, position: int) -> int:
    """A server counts its draws from where a request begins: one that begins within an answer must not repeat them.

    31 bits, which every server takes.
    """
    if position == 0:
        return seed % _SEEDS
    return int.from_bytes(hashlib.sha256(f"{seed} {position}".encode()).digest()[:8], "big") % _SEEDS


def _config_of(folder: Path, tokenizer: Tokenizer) -> tuple[int, tuple[int, ...]]:
    """How many token ids there are, and those that end an answer."""
    found: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            found |= {k: v for k, v in json.loads((folder / name).read_text("utf-8")).items() if v is not None}
    eos = found.get("eos_token_id", [])
    return found.get("vocab_size") or tokenizer.vocabulary, tuple(eos if isinstance(eos, list) else [eos])
