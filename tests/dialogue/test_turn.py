"""What is remembered of turns has bounds."""

from __future__ import annotations

import pytest

from dialogue.turn import TurnSummary, newest_within


def _turn(number: int, characters: int) -> TurnSummary:
    return TurnSummary(
        turn=number,
        message_id=f"m{number}",
        text_digest="d",
        question="退" * characters,
        answer="",
        verdict="pass",
    )


@pytest.mark.parametrize(
    ("characters", "kept"),
    [
        ([], []),
        ([1, 1, 1], [1, 2, 3]),
        ([100, 1, 1], [2, 3]),
        ([1, 100, 1], [3]),
        ([1, 1, 100], [3]),
        ([3, 3, 4], [1, 2, 3]),
    ],
)
def test_the_newest_within_the_bound_are_kept(characters: list[int], kept: list[int]) -> None:
    """Thirty bytes of UTF-8 together; oldest first, without a gap, and the last one in any case."""
    turns = [_turn(number, count) for number, count in enumerate(characters, start=1)]
    assert [turn.turn for turn in newest_within(turns, 30)] == kept
