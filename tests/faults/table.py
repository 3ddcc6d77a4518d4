"""``python -m tests.faults.table RESULTS.jsonl``: the tables of ``docs/durability.md``, as Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.fault_site import PROCESSES
from tests.faults.stops import PLACES, STEPS

__all__ = ["cut_table", "main", "table"]

GIVEN = "{number} under way: p50 / p95 s (undisturbed)"


def table(outcomes: Sequence[dict[str, Any]]) -> str:
    """A row for each process and step, and one for all kills of a process; recovery in seconds."""
    numbers = sorted({each["conversations"] for each in outcomes})
    heads = [GIVEN.format(number=number) for number in numbers]
    cells = ["process", "step", "kills", "lost", "doubled", *heads]
    lines = [_line(cells), _line("---" for _ in cells)]
    for process in PROCESSES:
        killed = [each for each in outcomes if each["process"] == process]
        for step in STEPS:
            lines += _row(process, step, [each for each in killed if each["step"] == step], numbers)
        lines += _row(process, "all", killed, numbers)
    return "\n".join(lines)


def _row(process: str, step: str, outcomes: Sequence[dict[str, Any]], numbers: Sequence[int]) -> list[str]:
    if not outcomes:
        return []
    lost, doubled = (sum(each[name] for each in outcomes) for name in ("lost", "doubled"))
    times = [_times([each for each in outcomes if each["conversations"] == number]) for number in numbers]
    return [_line([process, f"`{step}`" if step != "all" else step, len(outcomes), lost, doubled, *times])]


CUT = ("process", "place", "kills", "lost", "doubled", "shown twice", "tokens", "made twice", "recovery p50 / p95 s")


def cut_table(outcomes: Sequence[dict[str, Any]]) -> str:
    """The kills inside of generations: a row for each process and place, and one for all of a process."""
    lines = [_line(CUT), _line("---" for _ in CUT)]
    for process in PROCESSES:
        killed = [each for each in outcomes if each["process"] == process]
        for place in PLACES:
            lines += _cut_row(process, place, [each for each in killed if each["place"] == place])
        lines += _cut_row(process, "all", killed)
    return "\n".join(lines)


def _cut_row(process: str, place: str, outcomes: Sequence[dict[str, Any]]) -> list[str]:
    if not outcomes:
        return []
    counts = [sum(each[name] for each in outcomes) for name in ("lost", "doubled", "shown_twice", "tokens", "twice")]
    recovered = [each["recovered"] for each in outcomes]
    times = f"{_share(recovered, 0.5):.1f} / {_share(recovered, 0.95):.1f}"
    return [_line([process, place, len(outcomes), *counts, times])]


def _times(outcomes: Sequence[dict[str, Any]]) -> str:
    if not outcomes:
        return ""
    recovered = [each["recovered"] for each in outcomes]
    undisturbed = _share([each["undisturbed"] for each in outcomes], 0.5)
    return f"{_share(recovered, 0.5):.1f} / {_share(recovered, 0.95):.1f} ({undisturbed:.1f})"


def _share(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main(path: Path) -> None:
    outcomes = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    cuts = [each for each in outcomes if "place" in each]
    whole = [each for each in outcomes if "place" not in each]
    print("\n\n".join([*([table(whole)] if whole else []), *([cut_table(cuts)] if cuts else [])]))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
