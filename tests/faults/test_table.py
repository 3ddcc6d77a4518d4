"""The tables of docs/durability.md are what the outcomes say."""

from __future__ import annotations

from tests.faults.table import cut_table, table


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


def test_each_place_in_a_generation_has_a_row_with_what_was_made_twice() -> None:
    """Sums, nearest ranks, places in their order, and the last row of a process is all of its kills."""
    outcomes = [
        {"process": "engine", "place": place, "recovered": seconds, "lost": 0, "doubled": 0, "shown_twice": 0,
         "tokens": 16, "twice": twice}
        for place, seconds, twice in (("last", 4, 0), ("first", 1, 2), ("first", 2, 1))
    ]  # fmt: skip
    lines = cut_table(outcomes).splitlines()
    assert lines[0].endswith("| shown twice | tokens | made twice | recovery p50 / p95 s |")
    assert lines[2:] == [
        "| engine | first | 2 | 0 | 0 | 0 | 32 | 3 | 1.0 / 2.0 |",
        "| engine | last | 1 | 0 | 0 | 0 | 16 | 0 | 4.0 / 4.0 |",
        "| engine | all | 3 | 0 | 0 | 0 | 48 | 3 | 2.0 / 4.0 |",
    ]
