"""The table of docs/durability.md is what the outcomes say."""

from __future__ import annotations

from tests.faults.table import table


def _outcome(process: str, step: str, conversations: int, recovered: float, lost: int = 0) -> dict[str, object]:
    given = {"process": process, "step": step, "conversations": conversations, "recovered": recovered, "lost": lost}
    return {**given, "undisturbed": 1.0, "doubled": 0}


def test_each_process_and_step_has_a_row_with_its_kills_and_times() -> None:
    """Counts are summed, times are the nearest ranks, and the last row of a process is all of its kills."""
    outcomes = [_outcome("gpu", "generate_answer", 1, seconds) for seconds in (3, 1, 2)]
    outcomes += [_outcome("gpu", "generate_answer", 20, 40, lost=2), _outcome("gpu", "receive_input", 20, 8)]
    lines = table(outcomes).splitlines()
    assert lines[0].startswith("| process | step | kills | lost | doubled | 1 under way: p50 / p95 s")
    assert lines[2:] == [
        "| gpu | `receive_input` | 1 | 0 | 0 |  | 8.0 / 8.0 (1.0) |",
        "| gpu | `generate_answer` | 4 | 2 | 0 | 2.0 / 3.0 (1.0) | 40.0 / 40.0 (1.0) |",
        "| gpu | all | 5 | 2 | 0 | 2.0 / 3.0 (1.0) | 8.0 / 40.0 (1.0) |",
    ]
