"""HTTP with a server that speaks the OpenAI completions API, and what of it becomes a fault.

Written for vLLM, SGLang, TensorRT-LLM and llama.cpp's server: prompts go as token ids, and only fields they all take
are sent, but for those that :class:`CompletionsClient` is told to leave out. There is no vendor's library in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from dialogue.faults import EngineBusy, EngineHung, EngineLost, ModelFault, ParleyFault, PromptTooLong, UnknownModel

__all__ = ["CompletionsClient", "Piece", "Served"]

_LONGEST_LINE = 1 << 20
_SHOWN = 200
_DRAIN_SECONDS = 0.1
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum model length|max_model_len|input is too long", re.IGNORECASE
)
_TYPE = re.compile(r"[A-Za-z][A-Za-z_]{0,59}")
"""What servers call an error: ``server_error``, ``InternalServerError``."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says of the model it serves; ``context`` in tokens. Empty or ``None``: it does not say."""

    id: str
    server: str = ""
    version: str = ""
    root: str = ""
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of a stream adds. ``token_ids`` is ``None`` where the server gives text alone, ``logprobs`` where
    it gives none for each token."""

    text: str
    token_ids: tuple[int, ...] | None
    finish: str | None
    logprobs: tuple[float | None, ...] | None = None


class CompletionsClient:
    """A pool of at most ``connections``. ``seconds`` bound connecting, and what is asked besides answers.

    ``base_url`` is with or without the ending ``/v1``. Every fault is one line that names it, and none holds a word of
    an answer: of a stream that is broken only the shape is told. A fault of one stream says ``alone`` in its details:
    other streams of the same server may be well.
    """

    def __init__(self, base_url: str, *, key: str | None = None, seconds: float = 5.0, connections: int = 8) -> None:
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self._seconds = seconds
        self._closing: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=httpx.Timeout(seconds, read=None, pool=None),
            limits=httpx.Limits(max_connections=connections + 2, max_keepalive_connections=connections + 2),
            verify=ssl.create_default_context() if self.base_url.startswith("https:") else False,
            # a proxy that was set for the internet must not be sent prompts
            trust_env=False,
        )

    async def close(self) -> None:
        if self._closing:
            await asyncio.wait(self._closing)
        await self._http.aclose()

    async def served(self, name: str, *, only: bool) -> Served:
        """The model that the server lists under ``name``; where ``only``, the one it lists if that is the only one.

        Raises :class:`UnknownModel` naming what it lists instead.
        """
        response = await self._get("/v1/models")
        answer = _object(response)
        if response.status_code == httpx.codes.NOT_FOUND or (
            response.status_code == httpx.codes.OK and not isinstance(answer.get("data"), list)
        ):
            raise ModelFault(
                f"{self.base_url}/v1/models lists no models: set model.base_url to the server's address",
                field="model.base_url",
            )
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response.status_code, response.content)
        models = [each for each in _list_of(answer, "data") if isinstance(each.get("id"), str)]
        found = next((each for each in models if each["id"] == name), models[0] if only and len(models) == 1 else None)
        if found is None:
            listed = ", ".join(each["id"] for each in models)[:_SHOWN] or "none"
            raise UnknownModel(
                f"{self.base_url} serves no model {name!r} but {listed}: set model.served_name to one of these",
                field="model.served_name",
            )
        context = found.get("max_model_len")
        return Served(
            id=found["id"],
            server=str(found.get("owned_by") or ""),
            version=str(_object(await self._get("/version")).get("version") or ""),  # where there is such a page
            root=str(found.get("root") or ""),
            context=context if isinstance(context, int) and context > 0 else None,
        )

    async def _get(self, path: str) -> httpx.Response:
        try:
            async with asyncio.timeout(self._seconds):
                with self._faults():
                    return await self._http.get(path)
        except TimeoutError as error:
            raise EngineHung(
                f"{self.base_url}{path} gave no answer within {self._seconds:g} s: look at the server", alone=True
            ) from error

    async def complete(
        self, body: dict[str, Any], *, first_seconds: float, next_seconds: float, traceparent: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of one completion; the last one has a ``finish``. Leaving the iteration closes the stream, by
        which a server ends the work. With a ``traceparent`` the server's own spans belong to that trace.

        Raises :class:`EngineHung` where no token comes in time, after ``first_seconds`` for the first and
        ``next_seconds`` for each other.
        """
        loop = asyncio.get_running_loop()
        seconds, deadline = first_seconds, loop.time() + first_seconds
        async with aclosing(self._pieces(body, {"traceparent": traceparent} if traceparent else None)) as pieces:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        piece = await anext(pieces, None)
                except TimeoutError as error:
                    raise EngineHung(
                        f"{self.base_url} gave no token for {seconds:g} s: look at the server, or set "
                        f"model.{'first_token_seconds' if seconds is first_seconds else 'hang_seconds'}",
                        alone=True,
                    ) from error
                if piece is None:
                    raise EngineLost(f"{self.base_url} ended its stream in the middle of an answer", alone=True)
                yield piece
                if piece.finish is not None:
                    return
                if piece.text or piece.token_ids:
                    seconds, deadline = next_seconds, loop.time() + next_seconds

    async def _pieces(self, body: dict[str, Any], headers: dict[str, str] | None) -> AsyncGenerator[Piece, None]:
        with self._faults():
            request = self._http.build_request("POST", "/v1/completions", json=body, headers=headers)
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, await response.aread())
                async with aclosing(self._events(response)) as events:
                    async for event in events:
                        piece = self._piece(event)
                        if piece is None:
                            continue
                        if piece.finish is not None:
                            # read to its end, the connection serves the next request
                            with contextlib.suppress(TimeoutError, ParleyFault):
                                async with asyncio.timeout(_DRAIN_SECONDS):
                                    async for _ in events:
                                        pass
                        yield piece
            finally:
                await self._give_back(response)

    async def _give_back(self, response: httpx.Response) -> None:
        """Closes the stream, whoever is cancelled meanwhile: half closed, its connection would be lost to the pool."""
        closing = asyncio.create_task(response.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _events(self, response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
        """Server-sent events as these servers write them: each one line of JSON, the last one ``[DONE]``."""
        async with aclosing(self._lines(response)) as lines:
            async for line in lines:
                if not line.startswith(b"data:"):
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    async for _ in lines:
                        pass
                    return
                try:
                    event = json.loads(data)
                except ValueError as error:
                    raise self._malformed(f"an event of {len(data)} bytes, not JSON") from error
                if not isinstance(event, dict):
                    raise self._malformed(f"an event of JSON, but {_kind(event)} and no object")
                yield event

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """httpx's own lines end at every separator that Unicode knows, of which an event's text may be full."""
        rest = b""
        async for block in response.aiter_bytes():
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                yield line
            if len(rest) > _LONGEST_LINE:
                raise self._malformed(f"a line of more than {_LONGEST_LINE} bytes")
        if rest:
            yield rest

    def _piece(self, event: dict[str, Any]) -> Piece | None:
        """``None`` for an event that is no part of the answer, such as one of token counts."""
        if (error := event.get("error")) is not None:
            raise self._refusal_within(error)
        choices = _list_of(event, "choices")
        if not choices:
            if event.get("choices") == []:
                return None
            raise self._malformed("an event without a list of choices")
        choice = choices[0]
        text, ids, finish = choice.get("text") or "", choice.get("token_ids"), choice.get("finish_reason")
        if not isinstance(text, str):
            raise self._malformed(f"choices.0.text is {_kind(text)}")
        if not (ids is None or (isinstance(ids, list) and all(type(id_) is int and id_ >= 0 for id_ in ids))):
            raise self._malformed(f"choices.0.token_ids is {_kind(ids)} and no list of ids")
        if not (finish is None or isinstance(finish, str)):
            raise self._malformed(f"choices.0.finish_reason is {_kind(finish)}")
        return Piece(text, None if ids is None else tuple(ids), finish, _logprobs(choice, ids))

    # faults

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise EngineLost(
                f"{self.base_url} cannot be reached ({_line(str(error))}): start the server or set model.base_url",
                alone=True,
            ) from error
        except httpx.ConnectTimeout as error:
            raise EngineLost(
                f"{self.base_url} took no connection within {self._seconds:g} s: start the server there or set "
                "model.base_url",
                alone=True,
            ) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            why = _line(str(error))
            if isinstance(error, httpx.RemoteProtocolError):
                why = why.partition(": ")[0]  # behind a colon the bytes are shown that are no HTTP
            raise EngineLost(
                f"{self.base_url} broke the connection ({why or type(error).__name__})", alone=True
            ) from error

    def _malformed(self, shape: str) -> EngineLost:
        return EngineLost(f"{self.base_url} sent what is no completion: {shape}", alone=True)

    def _refusal_within(self, error: Any) -> ParleyFault:
        """The fault that an error within a stream is: its words are not told, for they may be the answer's."""
        told = error if isinstance(error, dict) else {}
        code, kind = told.get("code"), told.get("type")
        status = code if isinstance(code, int) else 500
        shown = kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else ""
        return self._fault(status, _said(json.dumps({"error": error}).encode()), shown)

    def _refusal(self, status: int, body: bytes) -> ParleyFault:
        """The fault that an HTTP status is."""
        said = _said(body)
        return self._fault(status, said, said)

    def _fault(self, status: int, said: str, shown: str) -> ParleyFault:
        why = f"{status}{f': {shown}' if shown else ''}"
        if status in (401, 403):  # what it says may hold the key
            return ModelFault(
                f"{self.base_url} refuses the API key ({status}): set model.api_key_env or model.api_key_file",
                field="model.api_key_env",
            )
        if status == 404:
            return UnknownModel(
                f"{self.base_url} knows no such model or page ({why}): set model.served_name and model.base_url",
                field="model.served_name",
            )
        if status in (400, 413, 422) and _TOO_LONG.search(said):
            return PromptTooLong(
                f"the prompt does not fit the server's context ({why}): shorten it or set smaller model.widths",
                field="model.widths",
            )
        if status in (429, 503):
            return EngineBusy(f"{self.base_url} has no room now ({why}): it is tried again", status=status, alone=True)
        if status >= 500:
            return EngineLost(f"{self.base_url} failed ({why}): see its log", status=status, alone=True)
        return ModelFault(f"{self.base_url} refuses the request ({why})", field="model.base_url", status=status)


def _logprobs(choice: dict[str, Any], ids: list[int] | None) -> tuple[float | None, ...] | None:
    """One for each token, as vLLM (a list) or llama.cpp (an object for each) tell; else ``None``: they are a help to
    reviewers, and no answer is lost for want of them."""
    told = choice.get("logprobs")
    if ids is None or not isinstance(told, dict):
        return None
    found = told.get("token_logprobs")
    if not isinstance(found, list):
        found = [each.get("logprob") for each in _list_of(told, "content")]
    numbers = tuple(each if isinstance(each, int | float) else None for each in found)
    return numbers if len(numbers) == len(ids) else None


def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object that it holds; an empty one where it holds none."""
    with contextlib.suppress(ValueError):
        if isinstance(answer := response.json(), dict):
            return answer
    return {}


def _list_of(answer: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list under ``key``, if that is what it holds."""
    found = answer.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _said(body: bytes) -> str:
    """The message of an error, in whatever form a server gives it."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = body.decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    return _line(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _kind(value: Any) -> str:
    """The type of a value of JSON, and nothing of it."""
    return f"of type {type(value).__name__}"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
