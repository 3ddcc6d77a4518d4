"""``generate`` of transformers as a naive server, in a process of its own: ``python -m benchmarks.peers_generate …``.

One request at a time with a queue before it, or static batches: it waits until a batch is full, pads prompts on their
left, and the next batch waits for the longest answer of this one. Each token is told as it is made, and none behind the
length that was asked for. Requests are JSON lines on standard input (``id``, ``prompt``, ``tokens``); lines of
standard output are ``{"ready": true}``, then ``{"made": [ids]}`` a step and ``{"ended": [ids]}``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers_timing import Ask
from benchmarks.peers_work import Work

__all__ = ["generate_process"]

ROOT = Path(__file__).resolve().parent.parent


@asynccontextmanager
async def generate_process(folder: Path, batch: int) -> AsyncIterator[Ask]:
    """The process, warm. Its threads spin and sleep as those of our engine do."""
    cores = str(len(os.sched_getaffinity(0)))
    environment = {"GOMP_SPINCOUNT": "20000"} | os.environ | {"OMP_NUM_THREADS": cores, "PYTHONPATH": str(ROOT)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.peers_generate", str(folder), str(batch)),
        stdin=pipe, stdout=pipe, env=environment, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    caller = _Caller(process.stdin)
    try:
        if not await process.stdout.readline():
            raise RuntimeError(f"generate's process ended with {await process.wait()} while it started")
        async with asyncio.TaskGroup() as group:
            group.create_task(caller.listen(process.stdout))
            yield caller.ask
            process.stdin.close()
    finally:
        if not process.stdin.is_closing():
            process.kill()
        await process.wait()


class _Caller:
    def __init__(self, stdin: asyncio.StreamWriter) -> None:
        self._stdin = stdin
        self._numbers = itertools.count()
        self._told: dict[int, Callable[[], None]] = {}
        self._ended: dict[int, asyncio.Future[None]] = {}

    async def ask(self, work: Work, tick: Callable[[], None]) -> int:
        number, made = next(self._numbers), 0

        def count() -> None:
            nonlocal made
            made += 1
            tick()

        self._told[number] = count
        self._ended[number] = asyncio.get_running_loop().create_future()
        request = {"id": number, "prompt": work.prompt, "tokens": work.tokens}
        self._stdin.write(json.dumps(request).encode() + b"\n")
        await self._ended[number]
        return made

    async def listen(self, stdout: asyncio.StreamReader) -> None:
        async for line in stdout:
            told = json.loads(line)
            for number in told.get("made", ()):
                self._told[number]()
            for number in told.get("ended", ()):
                self._ended[number].set_result(None)
        for future in self._ended.values():
            if not future.done():
                future.set_exception(RuntimeError("generate's process ended before its answers"))


# in the process


class _Told:
    """What ``generate`` calls a streamer: given the prompts first, and then each step's tokens."""

    def __init__(self, requests: list[dict[str, Any]]) -> None:
        self._requests, self._step = requests, -1

    def put(self, _tokens: Any) -> None:
        self._step += 1
        if self._step:
            made = [request["id"] for request in self._requests if self._step <= request["tokens"]]
            ended = [request["id"] for request in self._requests if self._step == request["tokens"]]
            _say({"made": made, "ended": ended})

    def end(self) -> None: ...


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _answer(model: Any, requests: list[dict[str, Any]], streamer: _Told | None) -> None:
    import torch

    longest = max(len(request["prompt"]) for request in requests)
    ids = torch.tensor([[0] * (longest - len(one["prompt"])) + one["prompt"] for one in requests])
    mask = torch.tensor([[0] * (longest - len(one["prompt"])) + [1] * len(one["prompt"]) for one in requests])
    tokens = max(request["tokens"] for request in requests)
    model.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0, streamer=streamer)


def _serve(folder: Path, batch: int) -> None:
    from benchmarks.engine import load_baseline

    model: Any = load_baseline(folder)
    model.generation_config.eos_token_id = None  # each answers its whole length
    _answer(model, [{"id": -1, "prompt": [1, 2, 3], "tokens": 4}] * batch, None)
    _say({"ready": True})
    lines = (json.loads(line) for line in sys.stdin)
    while requests := list(itertools.islice(lines, batch)):
        _answer(model, requests, _Told(requests))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
