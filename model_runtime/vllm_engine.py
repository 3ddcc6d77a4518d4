"""vLLM within the engine's process, through AsyncLLM: for production scale on GPUs.

Runs in the interpreter that ``model.python`` names, which has vLLM and msgpack; nothing of Parley's own environment is
needed there. vLLM computes in a process of its own below this one. What an answer promises beyond drawn tokens is done
in ``streamed_engine``; tensor parallelism, prefix caching and speculative decoding are vLLM's, set by its own names.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialogue.faults import EngineLost, ModelFault
from model_runtime.engine_identity import with_digest
from model_runtime.protocol import EngineDescription
from model_runtime.streamed_answer import Answer
from model_runtime.streamed_engine import Drawn, StreamedEngine, seed_at
from model_runtime.vllm_arguments import engine_arguments, refuse_unusable

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM  # pyright: ignore[reportMissingImports]

__all__ = ["VllmEngine"]

_KEPT_ENVIRONMENT = ("VLLM_BATCH_INVARIANT", "VLLM_ATTENTION_BACKEND", "VLLM_USE_FLASHINFER_SAMPLER")


class VllmEngine(StreamedEngine):
    """An :class:`~model_runtime.protocol.Engine`. ``arguments`` are those of vLLM's ``AsyncEngineArgs`` by name, but
    for the ones that settings of ours give. ``threads`` are those of a CPU."""

    _who = "vLLM"

    def __init__(
        self,
        model_folder: Path,
        *,
        rows: int = 8,
        widths: tuple[int, ...] = (1024,),
        threads: int | None = None,
        device: str = "cpu",
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model_folder, rows=rows, widths=widths)
        self._threads, self._device, self._arguments = threads, device, arguments or {}
        self._llm: AsyncLLM | None = None
        self._numbers = 0

    async def _start_drawing(self) -> EngineDescription:
        """In this thread, for the process it starts ends with the thread that started it."""
        began = time.monotonic()
        longest = min(self._longest, self._manifest.context)
        self._set_environment(longest)
        try:
            import vllm  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ModelFault(
                f"{sys.executable} has no vLLM ({error}): set model.python to that of an environment which has it",
                field="model.python",
            ) from error
        from vllm.engine.arg_utils import AsyncEngineArgs  # pyright: ignore[reportMissingImports]
        from vllm.v1.engine.async_llm import AsyncLLM  # pyright: ignore[reportMissingImports]

        refuse_unusable(self._arguments, {field.name for field in dataclasses.fields(AsyncEngineArgs)})
        imported = time.monotonic()
        arguments = engine_arguments(self._folder, rows=self._rows, longest=longest, given=self._arguments)
        try:
            self._llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        except Exception as error:
            raise ModelFault(f"vLLM does not start: {_one_line(error)}; see the engine's log") from error
        await self._warm_up()
        self.seconds = {
            "imports": round(imported - began, 3),
            "weights and warm-up": round(time.monotonic() - imported, 3),
        }
        return self._described(vllm.__version__, longest)

    def _set_environment(self, longest: int) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # a process that was forked would hold this one's pipes
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        if self._device == "cpu":
            os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(self._cache_gib(longest)))
            if self._threads is not None:
                cores = sorted(os.sched_getaffinity(0))[: self._threads]
                os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
        elif ":" in self._device:
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", self._device.partition(":")[2])

    def _cache_gib(self, longest: int) -> int:
        """Room for all rows at their longest, in whole GiB: vLLM would take half of the machine's memory."""
        config = json.loads((self._folder / "config.json").read_text("utf-8"))
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        token = 2 * 2 * config["num_hidden_layers"] * config.get("num_key_value_heads", heads) * head
        return max(1, math.ceil(1.25 * self._rows * longest * token / 2**30))

    async def _warm_up(self) -> None:
        """One token: what is compiled or allocated at the first request is there before the first task."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        assert self._llm is not None  # noqa: S101 - made above
        prompt = {"prompt_token_ids": list(self._tokenizer.encode("Hello")[:1] or (0,))}
        async for _ in self._llm.generate(prompt, SamplingParams(max_tokens=1), "warm-up"):
            pass

    async def _stop_drawing(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.shutdown()

    async def _draw(self, answer: Answer) -> AsyncGenerator[Drawn, None]:
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
        from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]
        from vllm.v1.engine.exceptions import EngineDeadError  # pyright: ignore[reportMissingImports]

        if self._llm is None:
            raise EngineLost("the engine was closed")
        asked = answer.request.sampling
        params = SamplingParams(
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=seed_at(asked.seed, len(answer.made)),
            max_tokens=answer.room,
            stop_token_ids=sorted(answer.stop),
            logprobs=0 if asked.logprobs else None,  # of the drawn token alone
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        # each stream has an id of its own: a second one of the same answer may begin before the first was taken away
        self._numbers += 1
        try:
            async with aclosing(
                self._llm.generate({"prompt_token_ids": answer.ids}, params, f"{answer.request.id} {self._numbers}")
            ) as outputs:
                async for output in outputs:
                    drawn = output.outputs[0]
                    ids = tuple(drawn.token_ids)
                    likely = drawn.logprobs and tuple(
                        of[id_].logprob for of, id_ in zip(drawn.logprobs, ids, strict=True)
                    )
                    yield Drawn(ids, drawn.finish_reason, likely or None)
        except EngineDeadError as error:
            raise EngineLost(f"vLLM's process died: {_one_line(error)}; see the engine's log") from error

    def _described(self, version: str, longest: int) -> EngineDescription:
        import torch

        manifest = self._manifest
        on_cpu = self._device == "cpu"
        where = torch.backends.cpu.get_cpu_capability() if on_cpu else torch.cuda.get_device_name()
        kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        description = EngineDescription(
            engine="vllm",
            model=manifest.name,
            model_digest=manifest.digest,
            engine_digest="",
            mode="eager" if self._arguments.get("enforce_eager") else "compiled",
            rows=self._rows,
            widths=(longest,),
            dtype=str(self._arguments.get("dtype", "bfloat16")),
            quantization=manifest.method,
            device=self._device,
            threads=self._threads or 0,
            context=manifest.context,
            languages=manifest.languages,
            reasoning=manifest.reasoning,
            eos_token_ids=self._eos,
            vocabulary=self._vocabulary,
            weight_bytes=sum(r.bytes for name, r in manifest.files.items() if name.endswith(".safetensors")),
            kernels=f"vllm {version} torch {torch.__version__} {where}",
            options={**self._arguments, **kept},
        )
        return with_digest(description)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
