"""``python -m benchmarks.gpu [--small] [--json FILE]``: how near the decoder comes to what its device can.

Random weights in the geometry of R1-Distill-Qwen-7B and 32B, bf16 and int4. Two rooflines (Williams et al. 2009), both
measured on the same device in the same run:

- decoding reads all weights and the keys and values held, once a step: those bytes at the bandwidth of a large copy;
- prefill multiplies: two operations a weight and token, at the speed of a large bf16 product.

The decoder alone: no scheduling, no sampling. A case that does not fit the device's memory says so.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import facts
from benchmarks.figures import spread
from cli.ending import end

if TYPE_CHECKING:
    import torch

    from benchmarks.geometry import Held
    from model_runtime.decoder import Decoder

__all__ = ["main", "measure", "run", "table"]

ROWS = (1, 8, 32, 128)
HELD_TOKENS = 448
"""Tokens a row holds when it is timed, in a cache of ``WIDTH``."""
WIDTH = 512
STEPS = 16
PROMPT = 2048
RUNS = 3


async def run(*, quick: bool = False) -> dict[str, Any]:
    """For ``python -m benchmarks gpu``; without a GPU only ``quick`` runs, on the small geometry."""
    return await asyncio.to_thread(measure, small=quick)


def measure(*, small: bool = False) -> dict[str, Any]:
    """Raises :class:`SystemExit` with a line where there is no GPU and nothing small was asked for."""
    import torch

    if not torch.cuda.is_available() and not small:
        sys.exit("gpu: torch sees no CUDA device. Run it where there is one, or with --small to see that it runs.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = ("small",) if small else ("R1-Distill-Qwen-7B", "R1-Distill-Qwen-32B")
    bandwidth, compute = _copy_bandwidth(device, small), _matmul_speed(device, small)
    cases: list[dict[str, Any]] = []
    for name in names:
        for held in ("bf16", "int4"):
            cases.append(_case(name, held, device, bandwidth, compute))
            _forget(device)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "small": small,
        "runs": RUNS,
        "held_tokens": HELD_TOKENS,
        "width": WIDTH,
        "copy_gb_per_second": round(bandwidth / 1e9, 1),
        "matmul_tflops": round(compute / 1e12, 3),
        "cases": cases,
    }


def _case(name: str, held: Held, device: torch.device, bandwidth: float, compute: float) -> dict[str, Any]:
    """One model held in one way; what does not fit is told by ``None`` in place of figures."""
    import torch

    from benchmarks.geometry import GEOMETRIES, RandomWeights, random_decoder
    from model_runtime.architecture import Architecture

    config = GEOMETRIES[name]
    shape = Architecture.from_config(config)
    read = RandomWeights(shape, held, device).step_bytes()
    told: dict[str, Any] = {"model": name, "held": held, "step_weight_bytes": read, "decode": [], "prefill": None}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        decoder = random_decoder(config, held, device)
    except torch.OutOfMemoryError:
        return told | {"fits": False, "peak_bytes": None}
    per_token = 2 * shape.layers * shape.kv_heads * shape.head_dim * 2
    for rows in ROWS:
        step_bytes = read + rows * HELD_TOKENS * per_token
        speed = _tried(lambda rows=rows: _decode(decoder, rows, device), device)
        told["decode"].append(_against(speed, rows * bandwidth / step_bytes) | {"rows": rows, "step_bytes": step_bytes})
    prompt = min(PROMPT, shape.context)
    speed = _tried(lambda: _prefill(decoder, prompt, device), device)
    told["prefill"] = _against(speed, compute / (2 * _layer_weights(shape))) | {"tokens": prompt}
    return told | {"fits": True, "peak_bytes": _peak(device)}


def _against(speed: list[float] | None, roofline: float) -> dict[str, Any]:
    """Tokens a second beside the most there could be; ``None`` where there was no memory."""
    return {
        "tokens_per_second": None if speed is None else spread(speed, 1),
        "roofline": round(roofline, 1),
        "share": None if speed is None else spread([each / roofline for each in speed], 3),
    }


def _layer_weights(shape: Any) -> int:
    """Weights that every token of a prompt is multiplied with: no table, and no head, which takes the last token."""
    attention = shape.hidden * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    return shape.layers * (attention + 3 * shape.hidden * shape.intermediate)


def _decode(decoder: Decoder, rows: int, device: torch.device) -> list[float]:
    """Tokens a second of all rows together, by run."""
    import torch

    from model_runtime.cache import Cache

    cache = Cache(decoder.shape, rows=rows, widths=(WIDTH,), dtype=torch.bfloat16, device=device)
    places = [cache.hold(row, WIDTH) for row in range(rows)]

    def steps(count: int) -> None:
        for step in range(count):
            decoder.decode([5] * rows, [HELD_TOKENS + step] * rows, places)

    steps(3)
    return [STEPS * rows / _seconds(lambda: steps(STEPS), device) for _ in range(RUNS)]


def _prefill(decoder: Decoder, tokens: int, device: torch.device) -> list[float]:
    ids, place = [5] * tokens, decoder.place(tokens)
    decoder.prefill(ids, 0, place)
    return [tokens / _seconds(lambda: decoder.prefill(ids, 0, place), device) for _ in range(RUNS)]


def _copy_bandwidth(device: torch.device, small: bool) -> float:
    """Bytes a second, those read and those written, of copying what no cache holds; the best of the runs."""
    import torch

    source = torch.ones((64 if small else 1024) << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / min(_seconds(lambda: target.copy_(source), device) for _ in range(RUNS))


def _matmul_speed(device: torch.device, small: bool) -> float:
    """Operations a second of a large square product in bf16; the best of the runs."""
    import torch

    size = 512 if small else 8192
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    torch.matmul(a, b)
    return 2 * size**3 / min(_seconds(lambda: torch.matmul(a, b), device) for _ in range(RUNS))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Until the device has done it, not until it was told to."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tried(work: Callable[[], list[float]], device: torch.device) -> list[float] | None:
    import torch

    try:
        return work()
    except (MemoryError, torch.OutOfMemoryError):
        return None
    finally:
        _forget(device)


def _forget(device: torch.device) -> None:
    """Gives memory back, so that the next case meets the device as this one did."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _peak(device: torch.device) -> int:
    """The most that was allocated on the GPU; on a CPU what the process has now."""
    import psutil
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def table(result: dict[str, Any]) -> Table:
    title = (
        f"{result['device']} · copy {result['copy_gb_per_second']} GB/s · matmul {result['matmul_tflops']} TFLOP/s · "
        f"median of {result['runs']}"
    )
    shown = Table("model", "held", "work", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("tokens/s", "roofline", "share", "peak GB"):
        shown.add_column(column, justify="right")
    for case in result["cases"]:
        what = (case["model"], case["held"])
        if not case["fits"]:
            shown.add_row(*what, "does not fit", "", "", "", "")
            continue
        for row in case["decode"]:
            shown.add_row(*what, f"decode, {row['rows']} rows", *_figures(row), "")
        prefill = case["prefill"]
        shown.add_row(
            *what, f"prefill, {prefill['tokens']} tokens", *_figures(prefill), f"{case['peak_bytes'] / 1e9:.1f}"
        )
    return shown


def _figures(row: dict[str, Any]) -> tuple[str, str, str]:
    if row["share"] is None:
        return "no memory", f"{row['roofline']:.0f}", ""
    return f"{row['tokens_per_second']['median']:.0f}", f"{row['roofline']:.0f}", f"{row['share']['median']:.0%}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="The decoder against its device.")
    parser.add_argument("--small", action="store_true", help="a tiny geometry, also on a CPU: that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to this file")
    given = parser.parse_args(arguments)
    result = measure(small=given.small)
    Console(width=None if sys.stdout.isatty() else 110).print(table(result))
    if given.json:
        report = {"machine": facts.machine(), "versions": facts.versions(), "results": {"gpu": result}}
        given.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    end(main(sys.argv[1:]))
