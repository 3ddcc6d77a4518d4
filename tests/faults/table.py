"""``python -m tests.faults.table RESULTS.jsonl``: the table of ``docs/durability.md``, as Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.fault_site import PROCESSES
from tests.faults.stops import STEPS

__all__ = ["main", "table"]

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
    print(table(outcomes))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
