"""The first engine: a fixed number of rows, continuous batching, sequences that join and leave at any step.

The same request gives the same tokens whoever shares the batch: each prompt is taken in alone, in chunks counted
from its own start, and a row attends over a width that its own length decides. A resumed answer goes on as if it
had never stopped: the prompt is taken in as it was, and the tokens made before are replayed through the decode
step's own shapes, a batch of them at a time. Both hold to the last bit on one engine digest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from dialogue.faults import EngineLost, OutOfMemory, ParleyFault
from model_runtime.admission import admit
from model_runtime.batch import PREFILL_CHUNK, Batch, Sequence
from model_runtime.cache import Cache
from model_runtime.engine_identity import with_digest
from model_runtime.loading import Loaded, load
from model_runtime.memory import step_bytes
from model_runtime.probe import kept_extents_equal, processor
from model_runtime.protocol import Capacity, EngineDescription, GenerationRequest, TokenEvent
from model_runtime.repetition import ParagraphWatch
from model_runtime.row_limit import RowLimit
from model_runtime.tokenizer import Tokenizer

__all__ = ["MAX_WAITING", "SlotEngine"]

MAX_WAITING = 64
"""Requests that may wait for a row. The pool above admits only what has room, so this is a backstop."""

_ARITHMETIC = 2
"""Of this code: whoever changes a sum or its order takes another number."""
_KEPT_ENVIRONMENT = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""By these, libraries choose other kernels than the processor has."""

_log = logging.getLogger(__name__)
_Item = TokenEvent | ParleyFault


class SlotEngine:
    """An :class:`~model_runtime.protocol.Engine` within this process.

    ``widths`` beyond the model's context are left out. ``threads`` bounds torch's threads for the steps, which run
    in a thread of their own. ``cache_bytes`` bounds the key-value cache. ``cache_folder``: where the outcome of the
    probe is kept for the next start.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        rows: int = 8,
        widths: tuple[int, ...] = (256, 512, 1024),
        threads: int | None = None,
        device: str = "cpu",
        cache_bytes: int | None = None,
        max_waiting: int = MAX_WAITING,
        cache_folder: Path | None = None,
    ) -> None:
        self._folder, self._rows, self._widths = Path(model_folder), rows, tuple(sorted(widths))
        self._threads, self._device, self._cache_bytes = threads, torch.device(device), cache_bytes
        self._max_waiting, self._cache_folder = max_waiting, cache_folder
        self._waiting: deque[Sequence] = deque()
        self._limit = RowLimit(rows)
        self._streams: dict[str, asyncio.Queue[_Item]] = {}
        self._cancelled: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: EngineLost | None = None
        self.seconds: dict[str, float] = {}
        """What the start spent its time on."""

    async def start(self) -> None:
        self._executor = ThreadPoolExecutor(1, "engine", self._use_threads)
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._load)
        except BaseException:
            self._executor.shutdown(wait=False)
            raise
        self._failure = None
        self._task = asyncio.create_task(self._run(), name="engine steps")

    def _use_threads(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # OpenMP counts threads per calling thread: set it in this one

    def _load(self) -> None:
        began = time.monotonic()
        loaded = load(self._folder, self._device)
        read = time.monotonic()
        shape, dtype = loaded.decoder.shape, loaded.decoder.dtype
        self._widths = tuple(w for w in self._widths if w <= shape.context) or (shape.context,)
        self._tokenizer = Tokenizer.load(self._folder)
        self._eos = loaded.eos_token_ids
        decisive = [loaded.manifest.digest, self._kernels(), torch.get_num_threads(), str(self._device)]
        equal = kept_extents_equal(loaded.decoder, self._rows, self._widths, self._cache_folder, decisive)
        self._cache = Cache(
            shape,
            rows=self._rows,
            widths=self._widths,
            dtype=dtype,
            device=self._device,
            budget=self._cache_bytes,
            spare=step_bytes(shape, rows=self._rows, chunk=PREFILL_CHUNK, width=self._widths[-1], dtype=dtype),
        )
        self._batch = Batch(loaded.decoder, self._cache, extents_equal=equal, closes=self._closes)
        self.seconds = {"weights": round(read - began, 3), "warm-up": round(time.monotonic() - read, 3)}
        self._description = self._described(loaded, equal)

    def _closes(self, ids: list[int]) -> bool:
        return "</think>" in self._tokenizer.decode(ids, skip_special=False)

    def _kernels(self) -> str:
        if self._device.type == "cuda":
            return f"torch {torch.__version__} {torch.cuda.get_device_name(self._device)}"
        return f"torch {torch.__version__} {torch.backends.cpu.get_cpu_capability()} {processor()}"

    def _described(self, loaded: Loaded, equal: bool) -> EngineDescription:
        manifest, threads = loaded.manifest, torch.get_num_threads()
        kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        description = EngineDescription(
            engine="transformers",
            model=manifest.name,
            model_digest=manifest.digest,
            engine_digest="",
            mode="eager",
            rows=self._rows,
            widths=self._widths,
            dtype=str(loaded.decoder.dtype).removeprefix("torch."),
            quantization=manifest.method,
            device=str(self._device),
            threads=threads,
            context=manifest.context,
            languages=manifest.languages,
            reasoning=manifest.reasoning,
            eos_token_ids=loaded.eos_token_ids,
            vocabulary=loaded.decoder.shape.vocabulary,
            weight_bytes=loaded.weight_bytes,
            kernels=self._kernels(),
            options={"arithmetic": _ARITHMETIC, "fewer_rows_alike": equal, **kept},
        )
        return with_digest(description)

    # the protocol

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        self._admit(request)
        stream = self._streams[request.id] = asyncio.Queue()
        self._wake.set()
        ended = False
        try:
            while not ended:
                item = await stream.get()
                if isinstance(item, ParleyFault):
                    ended = True
                    raise item
                ended = item.finish is not None
                yield item
        finally:
            del self._streams[request.id]
            if not ended:
                self._cancelled.add(request.id)
                self._wake.set()

    def _admit(self, request: GenerationRequest) -> None:
        if self._task is None or self._failure is not None:
            raise self._failure or EngineLost("the engine is not running: start it first")
        admit(
            request,
            vocabulary=self._description.vocabulary,
            longest=self._widths[-1],
            running=self._streams.keys() | self._cancelled,
        )
        if len(self._waiting) >= self._max_waiting + self._rows - self._batch.busy:
            raise OutOfMemory(f"{len(self._waiting)} requests wait for a row already: try again later")
        sampling = request.sampling
        closing: tuple[int, ...] = ()
        if sampling.thinking_budget is not None:
            closing = sampling.end_of_thinking_ids or self._tokenizer.encode("\n</think>\n\n")
        paragraphs = ParagraphWatch(self._tokenizer.token_id("</think>"))
        stop = frozenset((*self._eos, *sampling.stop_token_ids))
        self._waiting.append(Sequence(request, stop, closing, paragraphs=paragraphs))
        self._batch.counters.requests += 1

    async def cancel(self, request_id: str) -> None:
        if request_id in self._streams:
            self._cancelled.add(request_id)
            self._wake.set()

    async def capacity(self) -> Capacity:
        return Capacity(
            rows=self._rows,
            rows_busy=self._batch.busy,
            rows_limit=self._limit.now if self._cache.has_room else max(1, min(self._batch.busy, self._limit.now)),
            longest_width=self._widths[-1],
            free_bytes=max(0, self._cache.free_bytes),
            waiting=len(self._waiting),
        )

    async def describe(self) -> EngineDescription:
        return self._description

    async def stats(self) -> dict[str, Any]:
        counters = self._batch.counters
        return {
            "requests": counters.requests,
            "steps": counters.steps,
            "tokens": counters.tokens,
            "prefill_tokens": counters.prefill_tokens,
            "reused_tokens": counters.reused_tokens,
            "rows_in_steps": {str(rows): steps for rows, steps in sorted(counters.rows_in_steps.items())},
            "max_rows_in_a_step": max(counters.rows_in_steps, default=0),
            "finished": dict(counters.finished),
            "cancelled": counters.finished["cancelled"],
            "put_back": counters.put_back,
            "rows_limit": self._limit.now,
            "cache_bytes": self._cache.nbytes,
        }

    async def close(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        self._fail(EngineLost("the engine was closed"))
        self._executor.shutdown()

    # the loop

    @property
    def steps(self) -> int:
        """Steps so far: a watchdog sees by it that the engine moves."""
        return self._batch.counters.steps

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._settle()
                if not self._batch.busy:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                for event in await loop.run_in_executor(self._executor, self._batch.step):
                    self._tell(event)
                self._limit.step(short=bool(self._batch.put_back))
                self._waiting.extendleft(reversed(self._batch.put_back))
                self._batch.put_back.clear()
        except Exception as error:
            _log.exception("the engine's step failed")
            self._fail(EngineLost(f"the engine's step failed: {error}"))

    def _settle(self) -> None:
        """Between two steps: cancelled sequences leave, waiting ones join, first come first served."""
        for sequence in [s for s in (*self._batch.rows, *self._waiting) if s is not None]:
            if sequence.request.id in self._cancelled:
                if sequence.row < 0:
                    self._waiting.remove(sequence)
                    self._batch.counters.finished["cancelled"] += 1
                    self._tell(sequence.event("cancelled"))
                else:
                    self._tell(self._batch.leave(sequence, "cancelled"))
        self._cancelled.clear()
        while self._waiting and self._batch.busy < self._limit.now and self._batch.join(self._waiting[0]):
            self._waiting.popleft()

    def _tell(self, event: TokenEvent) -> None:
        if event.id in self._streams:
            self._streams[event.id].put_nowait(event)

    def _fail(self, failure: EngineLost) -> None:
        self._failure = failure
        self._waiting.clear()
        for stream in self._streams.values():
            stream.put_nowait(failure)
