"""What two engines share that draw a whole answer elsewhere and hear of it as a stream: a server's, and vLLM's own.

An :class:`~model_runtime.protocol.Engine` promises more than drawn tokens: where an answer stops, its thinking budget,
noticing that it goes in circles, a bound of what waits. That is done here, in the rules of ``batch``; what differs is
left to the methods at the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialogue.faults import EngineHung, EngineLost, OutOfMemory, ParleyFault
from model_runtime.admission import admit
from model_runtime.model_store import verify
from model_runtime.protocol import Capacity, EngineDescription, Finish, GenerationRequest, TokenEvent
from model_runtime.streamed_answer import Answer
from model_runtime.tokenizer import Tokenizer

__all__ = ["Drawn", "StreamedEngine", "seed_at"]

_Item = TokenEvent | ParleyFault
_SEEDS = 2**31
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one event of a stream adds; ``finish`` in the words of whoever draws, ``None`` while it goes on.
    ``logprobs``: one for each token, or ``None`` where they were not asked for or are not told."""

    token_ids: tuple[int, ...]
    finish: str | None = None
    logprobs: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """One answer, what its reader has still to hear of it, and the task that reads its stream."""

    answer: Answer
    items: asyncio.Queue[_Item]
    task: asyncio.Task[None]


class StreamedEngine(ABC):
    """``model_folder`` holds tokenizer, configuration and template. ``rows`` answers are in flight at most, others
    wait. ``widths``: the last bounds prompt and answer, in tokens."""

    def __init__(self, model_folder: Path, *, rows: int, widths: tuple[int, ...], max_waiting: int = 64) -> None:
        self._folder = Path(model_folder)
        self._rows, self._longest, self._max_waiting = rows, max(widths), max_waiting
        self._open = False
        self._stale = False
        self._description: EngineDescription | None = None
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
        async with self._asking:
            if self._open:
                return
            self._manifest = await asyncio.to_thread(verify, self._folder)
            self._tokenizer = Tokenizer.load(self._folder)
            self._vocabulary, self._eos = _config_of(self._folder, self._tokenizer)
            self._description = await self._start_drawing()
            self._open, self._stale = True, False

    async def close(self) -> None:
        was_open, self._open = self._open, False
        running = list(self._running.values())
        for each in running:
            each.task.cancel()
            each.items.put_nowait(EngineLost("the engine was closed"))
        if running:
            await asyncio.wait([each.task for each in running])
        if was_open:
            await self._stop_drawing()

    # the protocol

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        if not self._open or self._description is None:
            raise EngineLost("the engine is not running: start it first")
        longest = self._description.widths[-1]
        admit(request, vocabulary=self._vocabulary, longest=longest, running=self._running.keys())
        if len(self._running) >= self._rows + self._max_waiting:
            raise OutOfMemory(f"{len(self._running) - self._rows} requests wait for a row already: try again later")
        answer, items = self._answer(request, longest), asyncio.Queue[_Item]()
        task = asyncio.create_task(self._run(answer, items), name=f"answer {request.id}")
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
            logprobs = () if running.answer.request.sampling.logprobs else None
            told = running.answer.told
            running.items.put_nowait(TokenEvent(request_id, told, (), "cancelled", logprobs=logprobs))

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
        """What was said at the start, or is said now where a stream was lost since: it may be another one."""
        async with self._asking:
            if self._description is None:
                raise EngineLost("the engine was never started: start it first")
            if self._stale and self._open:
                self._description, self._stale = await self._described_again(self._description), False
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

    @property
    def steps(self) -> int:
        """Events so far: a watchdog sees by it that the engine moves."""
        return self._counters["steps"]

    # one answer

    def _answer(self, request: GenerationRequest, longest: int) -> Answer:
        closing: tuple[int, ...] = ()
        if request.sampling.thinking_budget is not None:
            closing = request.sampling.end_of_thinking_ids or self._tokenizer.encode("\n</think>\n\n")
        stop = frozenset((*self._eos, *request.sampling.stop_token_ids))
        return Answer(request, longest, stop, closing, self._closes)

    def _closes(self, ids: list[int]) -> bool:
        return "</think>" in self._tokenizer.decode(ids, skip_special=False)

    async def _run(self, answer: Answer, items: asyncio.Queue[_Item]) -> None:
        """Puts in the answer's events, or the fault for which there is no more of them."""
        try:
            async with self._in_rows:
                self._busy += 1
                try:
                    async with aclosing(self._events(answer)) as events:
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
            items.put_nowait(EngineLost(f"the answer could not be read: {type(error).__name__}", alone=True))

    async def _events(self, answer: Answer) -> AsyncGenerator[TokenEvent, None]:
        """One stream; and where the thinking budget is spent before reasoning is closed, the closing ids and another
        stream behind them."""
        finish = answer.end()
        if finish is not None:
            yield answer.event(finish)
        while finish is None:
            if answer.due:
                finish = answer.close_reasoning()
                yield answer.event(finish)
                continue
            self._counters["prefill_tokens"] += len(answer.ids)
            async with aclosing(self._draw(answer)) as stream:
                async for drawn in stream:
                    self._counters["steps"] += 1
                    self._rows_in_steps[self._busy] += 1
                    finish = answer.take(drawn.token_ids, drawn.logprobs)
                    if finish is None and not answer.due:
                        finish = self._finish(drawn)
                    if finish is not None or len(answer.made) > answer.told:
                        yield answer.event(finish)
                    if finish is not None or answer.due:
                        break

    def _finish(self, drawn: Drawn) -> Finish | None:
        if drawn.finish is None or drawn.finish == "stop" or drawn.finish == "length":
            return drawn.finish
        raise EngineLost(f"{self._who} ended an answer with {drawn.finish!r}: see its log", alone=True)

    # what differs

    _who = "the server"

    @abstractmethod
    async def _start_drawing(self) -> EngineDescription:
        """Makes ready to draw; raises what :meth:`~model_runtime.protocol.Engine.start` may raise."""

    @abstractmethod
    async def _stop_drawing(self) -> None: ...

    async def _described_again(self, before: EngineDescription) -> EngineDescription:
        """Asked for after a loss."""
        return before

    @abstractmethod
    def _draw(self, answer: Answer) -> AsyncGenerator[Drawn, None]:
        """Draws on behind ``answer.ids``, up to ``answer.room`` tokens; closed early, it ends the work."""


def seed_at(seed: int, position: int) -> int:
    """Draws are counted from where a stream begins: one that begins within an answer must not repeat them.

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
