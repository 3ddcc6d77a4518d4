"""What of a message is looked up."""

from __future__ import annotations

import pytest

from activities.retrieve_knowledge import searchable


@pytest.mark.parametrize(
    ("text", "looked_up"),
    [
        ("我的手机号是███,你们这些███,退货要多少天?", "退货要多少天?"),
        ("My number is ███, how long may I take?", "how long may I take?"),
        ("How long may I take?", "How long may I take?"),
        ("Is ███ a good number?", "Is ███ a good number?"),
        ("What are the fees, and the limits?", "What are the fees, and the limits?"),
        ("", ""),
    ],
)
def test_clauses_with_something_masked_are_not_looked_up(text: str, looked_up: str) -> None:
    """They say nothing about what is asked, unless there is nothing else."""
    assert searchable(text) == looked_up
