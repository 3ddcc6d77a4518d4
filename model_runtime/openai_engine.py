"""An engine that others run: a server that speaks the OpenAI completions API, such as vLLM.

The server is given token ids and gives token ids back where it can; the tokenizer, the template and the rules of
reasoning are those of the prepared folder here. What an :class:`~model_runtime.protocol.Engine` promises beyond
drawing tokens is done on this side (``streamed_engine``).

What it cannot promise: that an answer taken up after a loss has the sampled tokens it would have had, and that the
weights behind a server's name are those they were.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from dialogue.faults import EngineLost, ModelFault
from model_runtime.engine_identity import with_digest
from model_runtime.model_store import ModelManifest
from model_runtime.openai_client import CompletionsClient, Piece, Served
from model_runtime.protocol import EngineDescription, Sampling
from model_runtime.streamed_answer import Answer
from model_runtime.streamed_engine import Drawn, StreamedEngine, seed_at

__all__ = ["OpenAIEngine"]


class OpenAIEngine(StreamedEngine):
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
        super().__init__(model_folder, rows=rows, widths=widths, max_waiting=max_waiting)
        self._base_url, self._served_name = base_url, served_name
        self._api_key_env, self._api_key_file = api_key_env, api_key_file
        self._connect_seconds = connect_seconds
        self._first_seconds, self._next_seconds = first_token_seconds, hang_seconds

    async def _start_drawing(self) -> EngineDescription:
        """Asks the server for its model and for one token, by which it is seen whether it gives token ids."""
        began = time.monotonic()
        client = CompletionsClient(
            self._base_url, key=self._key(), seconds=self._connect_seconds, connections=self._rows
        )
        try:
            description = await self._ask(client)
        except BaseException:
            await client.close()
            raise
        self._client = client
        self.seconds = {"server": round(time.monotonic() - began, 3)}
        return description

    async def _stop_drawing(self) -> None:
        await self._client.close()

    async def _described_again(self, before: EngineDescription) -> EngineDescription:
        return await self._ask(self._client)

    async def _ask(self, client: CompletionsClient) -> EngineDescription:
        name = self._served_name or self._manifest.name
        self._served = await client.served(name, only=self._served_name is None)
        self._with_ids = await self._gives_ids(client)
        return self._described(self._manifest, self._served, client.base_url)

    async def _gives_ids(self, client: CompletionsClient) -> bool:
        """Whether token ids come where they are asked for. A server that knows no such field may refuse it."""
        prompt = list(self._tokenizer.encode("Hello")[:1] or (0,))
        for self._with_ids in (True, False):
            body = self._body(prompt, Sampling(), position=0, room=1)
            try:
                async with aclosing(self._complete(client, body)) as pieces:
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
        told = {"server": served.server, "version": served.version, "id": served.id, "root": served.root}
        description = EngineDescription(
            engine="openai",
            model=manifest.name,
            model_digest=manifest.digest,
            engine_digest="",
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
            options={**told, "token_ids": self._with_ids},
        )
        return with_digest(description)

    async def _draw(self, answer: Answer) -> AsyncGenerator[Drawn, None]:
        body = self._body(answer.ids, answer.request.sampling, position=len(answer.made), room=answer.room)
        async with aclosing(self._complete(self._client, body, answer.request.traceparent)) as pieces:
            async for piece in pieces:
                yield Drawn(self._ids(piece), piece.finish, piece.logprobs)

    def _complete(
        self, client: CompletionsClient, body: dict[str, Any], traceparent: str = ""
    ) -> AsyncGenerator[Piece, None]:
        first, following = self._first_seconds, self._next_seconds
        return client.complete(body, first_seconds=first, next_seconds=following, traceparent=traceparent)

    def _body(self, prompt: list[int], sampling: Sampling, *, position: int, room: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._served.id,
            "prompt": prompt,
            "max_tokens": room,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed_at(sampling.seed, position),
            "stream": True,
        }
        if sampling.stop_token_ids:
            body["stop_token_ids"] = list(sampling.stop_token_ids)
        if self._with_ids:
            body["return_token_ids"] = True
            if sampling.logprobs:
                body["logprobs"] = 1
        else:
            body["skip_special_tokens"] = False  # the closing tag is one for some models
        return body

    def _ids(self, piece: Piece) -> tuple[int, ...]:
        if not self._with_ids:
            return self._tokenizer.encode(piece.text)
        if piece.token_ids is None and piece.text:
            raise EngineLost(f"{self._base_url} gave token ids at first and now text alone", alone=True)
        return piece.token_ids or ()
