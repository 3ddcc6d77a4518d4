"""How long until `parley up` is ready, and each of its processes alone, against the least that could be.

The floor is what no order of starting can avoid: the same development server, and an interpreter for each process that
imports the libraries its process uses and nothing else (the collector paused, as ours do it), all at once. In every run
the floor comes first and ours right after it. CPU seconds are those of every process together at the moment of being
ready: they hold still when other work shares the machine. Where the time goes is told by the processes themselves;
imports are watched in a run apart, because watching slows them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.figures import spread
from benchmarks.started import Floor, Started, Starter

__all__ = ["run", "table"]

ALONE = ("temporal", "dialogue", "gpu", "gateway")
_PACKAGES = 5


async def run(*, quick: bool = False) -> dict[str, Any]:
    """``first`` prepares model and knowledge base (quick: the knowledge base alone); the others find them there."""
    runs = 1 if quick else 5
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation keeps its bytecode
    with tempfile.TemporaryDirectory() as folder:
        starter = Starter(Path(folder), build_model=not quick)
        first = await starter.up()
        rows = [_row("parley up", [(await starter.floor(*ALONE), await starter.up()) for _ in range(runs)])]
        for name in ALONE:
            beside = [(await starter.floor(name), await starter.alone(name)) for _ in range(runs)]
            rows.append(_row(name, beside))
        imports: dict[str, dict[str, float]] = {}
        for name in ALONE[1:]:
            imports |= await starter.imports(name)
        collector = [(await starter.floor("dialogue", collector=True)).cpu_seconds for _ in range(runs)]
    return {
        "runs": runs,
        "first": {"seconds": round(first.seconds, 1), "cpu_seconds": round(first.cpu_seconds, 1), "steps": first.steps},
        "rows": rows,
        "import_seconds": imports,
        "dialogue_floor_with_collector_cpu_seconds": spread(collector),
    }


def _row(what: str, pairs: list[tuple[Floor, Started]]) -> dict[str, Any]:
    """Figures of one thing; its ``steps`` are those of the run with the median time."""
    median = sorted((started for _, started in pairs), key=lambda one: one.seconds)[len(pairs) // 2]
    return {
        "what": what,
        "seconds": spread([started.seconds for _, started in pairs]),
        "cpu_seconds": spread([started.cpu_seconds for _, started in pairs]),
        "floor_seconds": spread([floor.seconds for floor, _ in pairs]),
        "floor_cpu_seconds": spread([floor.cpu_seconds for floor, _ in pairs]),
        "to_floor": {
            "seconds": spread([started.seconds / floor.seconds for floor, started in pairs]),
            "cpu_seconds": spread([started.cpu_seconds / floor.cpu_seconds for floor, started in pairs]),
        },
        "load_before": spread([started.load_before for _, started in pairs]),
        "steps": median.steps,
    }


def table(result: dict[str, Any]) -> Table:
    title = f"Until ready, median of {result['runs']}; × is against the server and bare imports, all at once (floor)"
    shown = Table("what", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("seconds", "least", "greatest", "floor", "×", "CPU s", "floor", "×", "load"):
        shown.add_column(column, justify="right")
    first = result["first"]
    shown.add_row("parley up, first", f"{first['seconds']:.1f}", *[""] * 4, f"{first['cpu_seconds']:.1f}", *[""] * 3)
    for row in result["rows"]:
        median = {key: value["median"] for key, value in row.items() if isinstance(value, dict) and "median" in value}
        shown.add_row(
            row["what"],
            *(f"{row['seconds'][key]:.1f}" for key in ("median", "least", "greatest")),
            f"{median['floor_seconds']:.1f}",
            f"{row['to_floor']['seconds']['median']:.1f}",
            f"{median['cpu_seconds']:.1f}",
            f"{median['floor_cpu_seconds']:.1f}",
            f"{row['to_floor']['cpu_seconds']['median']:.1f}",
            f"{median['load_before']:.1f}",
        )
    shown.caption = "\n".join([*_steps(result["rows"]), *_imports(result["import_seconds"])])
    shown.caption_justify = "left"
    return shown


def _steps(rows: list[dict[str, Any]]) -> list[str]:
    """From when to when, in seconds."""
    lines: list[str] = []
    for row in rows:
        spans = sorted((begin, end, name) for name, (begin, end) in row["steps"].items())
        lines += [f"{row['what']}: {name} {begin:.1f} to {end:.1f}" for begin, end, name in spans]
    return lines


def _imports(imports: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"{name} imports: "
        + ", ".join(f"{package} {took:.2f} s" for package, took in list(packages.items())[:_PACKAGES])
        for name, packages in imports.items()
    ]
