"""A real server of the OpenAI completions API in a process of its own, over the slot engine, that misbehaves when told.

``python -m tests.support.completions_server FOLDER PORT KEY`` serves the prepared model in FOLDER until its standard
input ends. It answers as vLLM does: token ids where they are asked for, the stop token among them, errors as JSON.
``POST /behave`` says how the next answers are to be (see :class:`Behaviour`), and gives the bodies that were asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_runtime.protocol import GenerationRequest, Sampling
from tests.support.ports import free_port

__all__ = ["Behaviour", "CompletionsServer", "completions_server"]

LONGEST = 128


@dataclass(frozen=True)
class Behaviour:
    """``status``: the answer is this HTTP status, saying ``message``. Else after ``after`` events ``fault`` comes:
    ``drop`` cuts the connection, ``stall`` sends nothing more, ``end`` ends the stream, ``cut`` in the middle of an
    event, ``malformed`` and ``foreign`` send an event that is no JSON, or none of a completion, ``error`` an error as
    an event, ``abort`` a strange finish. ``message`` stands in each event but the last.
    ``ids``: token ids are given; ``strict``: a field that is not OpenAI's own is refused; ``model``: its name."""

    status: int = 200
    message: str = ""
    fault: str = ""
    after: int = 0
    ids: bool = True
    strict: bool = False
    model: str = "tiny"
    version: str | None = "1.0"


class CompletionsServer:
    """Its process, which may be killed and started again on the same port."""

    def __init__(self, folder: Path, *, key: str = "") -> None:
        self._port, self._folder, self._key = free_port(), folder, key
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it listens."""
        command = [sys.executable, "-m", "tests.support.completions_server", self._folder, str(self._port), self._key]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.stop()
            raise RuntimeError("the completions server did not start: see what it said above")

    async def behave(self, behaviour: Behaviour = Behaviour()) -> list[dict[str, Any]]:
        """Gives the bodies of the requests since the last time; each with the ``traceparent`` it came with, if any."""
        import httpx

        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(f"{self.url}/behave", json=asdict(behaviour))).raise_for_status().json()

    async def busy(self) -> int:
        """Rows at work: what a client that went away must not keep."""
        import httpx

        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.url}/busy")).json()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.communicate()
        self._process = None


@contextlib.contextmanager
def completions_server(folder: Path, *, key: str = "") -> Iterator[CompletionsServer]:
    server = CompletionsServer(folder, key=key)
    server.start()
    try:
        yield server
    finally:
        server.stop()


# in its own process


class _Application:
    def __init__(self, engine: Any, tokenizer: Any, key: str) -> None:
        self._engine, self._tokenizer, self._key = engine, tokenizer, key
        self._behaviour = Behaviour()
        self._bodies: list[dict[str, Any]] = []
        self._numbers = itertools.count()

    def routes(self) -> list[Any]:
        from starlette.routing import Route

        return [
            Route("/v1/models", self.models),
            Route("/version", self.version),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/behave", self.behave, methods=["POST"]),
            Route("/busy", self.busy),
        ]

    async def behave(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        self._behaviour = Behaviour(**await request.json())
        bodies, self._bodies = self._bodies, []
        return JSONResponse(bodies)

    async def busy(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse((await self._engine.capacity()).rows_busy)

    async def models(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return self._error(401, f"Incorrect API key provided: {request.headers.get('authorization')}")
        card = {"id": self._behaviour.model, "object": "model", "owned_by": "tests", "max_model_len": LONGEST}
        return JSONResponse({"object": "list", "data": [card]})

    async def version(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        version = self._behaviour.version
        return JSONResponse({"version": version}) if version else JSONResponse({"detail": "Not Found"}, 404)

    async def completions(self, request: Any) -> Any:
        from starlette.responses import JSONResponse, StreamingResponse

        body, behaviour = await request.json(), self._behaviour
        trace = request.headers.get("traceparent")
        self._bodies.append({**body, "traceparent": trace} if trace else body)
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            return self._error(401, f"Incorrect API key provided: {request.headers.get('authorization')}")
        if behaviour.status != 200:
            return self._error(behaviour.status, behaviour.message)
        if body["model"] != behaviour.model:
            return self._error(404, f"The model `{body['model']}` does not exist.")
        if behaviour.strict and "return_token_ids" in body:
            return self._error(400, "return_token_ids: Extra inputs are not permitted")
        asked = len(body["prompt"]) + body["max_tokens"]
        if asked > LONGEST:
            return self._error(
                400, f"This model's maximum context length is {LONGEST} tokens. However, you requested {asked} tokens."
            )
        if body.get("stream"):
            return StreamingResponse(self._stream(body, behaviour), media_type="text/event-stream")
        choices = [choice async for choice in self._choices(body, behaviour)]
        whole = {"text": "".join(choice["text"] for choice in choices), "finish_reason": choices[-1]["finish_reason"]}
        return JSONResponse({"object": "text_completion", "choices": [{"index": 0, **whole}]})

    async def _stream(self, body: dict[str, Any], behaviour: Behaviour) -> AsyncIterator[bytes]:
        yield b": a comment, as some servers send to keep a connection\n\n"
        places = itertools.count()
        async with contextlib.aclosing(self._choices(body, behaviour)) as choices:
            async for choice in choices:
                if behaviour.fault and next(places) == behaviour.after:
                    if behaviour.fault == "drop":
                        raise ConnectionAbortedError
                    if behaviour.fault == "stall":
                        await asyncio.Event().wait()
                    if behaviour.fault == "end":
                        return
                    if behaviour.fault == "cut":
                        yield f'data: {{"choices": [{{"index": 0, "text": "{behaviour.message}'.encode()
                        return
                    broken: dict[str, Any] = {
                        "malformed": f"{{half {behaviour.message}",
                        "foreign": {"choices": [{"text": [behaviour.message]}]},
                        "error": {"error": {"message": behaviour.message, "type": "server_error", "code": 500}},
                        "abort": {"choices": [{"text": "", "finish_reason": "abort"}]},
                    }
                    yield _data(broken[behaviour.fault])
                    return
                yield _data({"object": "text_completion", "choices": [choice]})
        yield _data({"object": "text_completion", "choices": [], "usage": {"prompt_tokens": len(body["prompt"])}})
        yield b"data: [DONE]\n\n"

    async def _choices(self, body: dict[str, Any], behaviour: Behaviour) -> AsyncIterator[dict[str, Any]]:
        stop = tuple(body.get("stop_token_ids", ()))
        sampling = Sampling(
            temperature=body["temperature"],
            top_p=body["top_p"],
            seed=body["seed"],
            max_new_tokens=body["max_tokens"],
            stop_token_ids=stop,
            watch=False,
            logprobs=body.get("logprobs") is not None,
        )
        request = GenerationRequest(str(next(self._numbers)), tuple(body["prompt"]), sampling=sampling)
        async with contextlib.aclosing(self._engine.submit(request)) as events:
            async for event in events:
                text = self._tokenizer.decode(event.token_ids, skip_special=body.get("skip_special_tokens", True))
                choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": event.finish}
                if behaviour.ids and body.get("return_token_ids"):
                    ended = (stop or (2,))[:1] if event.finish == "stop" else ()
                    choice["token_ids"] = [*event.token_ids, *ended]
                    if event.logprobs is not None:
                        choice["logprobs"] = {"token_logprobs": [*event.logprobs, *(None for _ in ended)]}
                yield choice

    def _error(self, status: int, message: str) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"error": {"message": message, "type": "tests", "code": status}}, status)


def _data(event: Any) -> bytes:
    """As pydantic writes JSON: signs beyond ASCII stand as they are."""
    text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


async def _serve(folder: Path, port: int, key: str) -> None:
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server.embed import Server
    from starlette.applications import Starlette

    from model_runtime.slot_engine import SlotEngine
    from model_runtime.tokenizer import Tokenizer

    engine = SlotEngine(folder, rows=4, widths=(64, LONGEST), threads=1)
    await engine.start()
    app = Starlette(routes=_Application(engine, Tokenizer.load(folder), key).routes())
    server = Server(app, port=port, interface=Interfaces.ASGINL, log_level=LogLevels.critical)
    serving = asyncio.create_task(server.serve())
    while not serving.done():  # the server has no event for it, so it is knocked at
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        break
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    os._exit(0)  # streams that never end would keep it


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
