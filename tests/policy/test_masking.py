"""Masking: exactly the spans, and nothing of what stood there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dialogue.steps import Finding
from policy.masking import MASK, mask, replace_spans


def finding(start: int, end: int) -> Finding:
    return Finding(rule="word_level_1", label="word level 1", start=start, end=end, action="mask")


def test_a_span_is_covered_and_its_length_not_told() -> None:
    """The rest of the text stays as it was."""
    assert mask("call 13800138000 now", [finding(5, 16)]) == "call ███ now"
    assert mask("call 12 now", [finding(5, 7)]) == "call ███ now"


def test_overlapping_and_touching_spans_become_one_mask() -> None:
    """Also when they come in any order; an empty span covers nothing."""
    assert mask("abcdefgh", [finding(4, 6), finding(1, 3), finding(2, 4), finding(7, 7)]) == "a███gh"


def test_a_mask_wins_over_another_replacement() -> None:
    """Where a defused token overlaps personal data, neither shows."""
    assert replace_spans("abcdef", [(1, 4, "x"), (3, 5, MASK)]) == "a███f"


@given(st.text(st.sampled_from("abc日"), max_size=30), st.lists(st.tuples(st.integers(0, 35), st.integers(0, 35))))
def test_exactly_what_lies_outside_all_spans_is_left(text: str, spans: list[tuple[int, int]]) -> None:
    """Compared with a character-by-character reference, whatever the spans."""
    covered = [any(start <= i < end for start, end in spans) for i in range(len(text))]
    left = "".join(c for c, hidden in zip(text, covered, strict=True) if not hidden)
    masked = mask(text, [finding(start, end) for start, end in spans])
    assert masked.replace(MASK, "") == left
    runs = sum(hidden and (i == 0 or not covered[i - 1]) for i, hidden in enumerate(covered))
    assert masked.count(MASK) == runs
