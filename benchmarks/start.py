"""How long until `parley up` is ready, and each of its processes alone, against the least that could be.

The floor is what no order of starting can avoid: the same development server, and an interpreter for each process that
imports the libraries its process uses and nothing else, all at once. In every run the floor comes first and ours right
after it. CPU seconds are those of every process together, at the moment of being ready: they hold still when other work
shares the machine. Where the time goes is measured in runs of its own, because watching imports slows them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.figures import spread
from benchmarks.started import Floor, Started, Starter

__all__ = ["run", "table"]

ALONE = ("temporal", "dialogue", "gpu", "gateway")


async def run(*, quick: bool = False) -> dict[str, Any]:
    """``first`` prepares model and knowledge base (quick: the knowledge base alone); the others find them there."""
    runs = 1 if quick else 5
    with tempfile.TemporaryDirectory() as folder:
        starter = Starter(Path(folder), build_model=not quick)
        first = await starter.up()
        pairs = [(await starter.floor(*ALONE), await starter.up()) for _ in range(runs)]
        rows = [_row("parley up", pairs)]
        for name in ALONE:
            beside = [(await starter.floor(name), await starter.alone(name)) for _ in range(runs)]
            rows.append(_row(name, beside))
        imports = {name: await starter.imports(name) for name in ALONE if name != "temporal"}
    return {"runs": runs, "first": _one(first), "rows": rows, "imports": imports}


def _one(started: Started) -> dict[str, Any]:
    return {
        "seconds": round(started.seconds, 2),
        "cpu_seconds": round(started.cpu_seconds, 2),
        "steps": started.steps,
        "load_before": started.load_before,
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
    title = f"Until ready, median of {result['runs']}; × is against server and imports alone, all at once (floor)"
    shown = Table("what", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("seconds", "least", "greatest", "floor", "×", "CPU s", "floor CPU", "load"):
        shown.add_column(column, justify="right")
    first = result["first"]
    shown.add_row("parley up, the first", f"{first['seconds']:.1f}", *[""] * 4, f"{first['cpu_seconds']:.1f}", "", "")
    for row in result["rows"]:
        median = {key: value["median"] for key, value in row.items() if isinstance(value, dict) and "median" in value}
        shown.add_row(
            row["what"],
            *(f"{row['seconds'][key]:.1f}" for key in ("median", "least", "greatest")),
            f"{median['floor_seconds']:.1f}",
            f"{row['to_floor']['seconds']['median']:.1f}",
            f"{median['cpu_seconds']:.1f}",
            f"{median['floor_cpu_seconds']:.1f}",
            f"{median['load_before']:.1f}",
        )
        for name, (begin, end) in row["steps"].items():
            shown.add_row(f"  {name}", f"{end - begin:.1f}", f"from {begin:.1f}", f"to {end:.1f}", *[""] * 5)
    for name, packages in result["imports"].items():
        told = "  ".join(f"{package} {seconds:.2f}" for package, seconds in list(packages.items())[:6])
        shown.caption = f"{shown.caption or 'Seconds of imports by package'}\n{name}: {told}"
    return shown
