"""Reasoning and answer apart, whatever the pieces."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.reasoning import Channel, ReasoningParser, split_reasoning

fragments = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "</", "/think>", "</thin", ">", " ", "\n", "2 < 3", "想一想", "a"]),
    max_size=12,
).map("".join)


def _joined(pieces: list[tuple[Channel, str]], channel: Channel) -> str:
    return "".join(text for which, text in pieces if which == channel)


@given(fragments, st.data())
def test_pieces_never_change_what_comes_out(text: str, data: st.DataObject) -> None:
    """Any cutting of a text gives what the whole text gives, and no empty piece."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parser, pieces = ReasoningParser("r1"), []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += parser.feed(text[start:end])
    pieces += parser.close()
    assert all(piece for _, piece in pieces)
    assert (_joined(pieces, "reasoning"), _joined(pieces, "answer")) == split_reasoning(text, "r1")


@given(fragments)
def test_nothing_leaks_either_way(text: str) -> None:
    """Everything before the first closing tag is reasoning, everything after it is the answer."""
    reasoning, answer = split_reasoning(text, "r1")
    body = text.lstrip()
    body = body.removeprefix("<think>")
    before, tag, after = body.partition("</think>")
    assert reasoning == before.strip()
    assert answer == (after.lstrip() if tag else "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 4.\n</think>\n\nFour.", ("It is 4.", "Four.")),
        ("<think>\nIt is 4.\n</think>\nFour.", ("It is 4.", "Four.")),
        ("</think>\n\nFour.", ("", "Four.")),
        ("never closed", ("never closed", "")),
        ("a</think>b</think>c", ("a", "b</think>c")),
    ],
)
def test_the_shapes_that_r1_writes(text: str, expected: tuple[str, str]) -> None:
    """Prefilled, repeated, skipped and unclosed reasoning."""
    assert split_reasoning(text, "r1") == expected


@given(fragments)
def test_a_model_that_does_not_reason_only_answers(text: str) -> None:
    """Tags mean nothing to it."""
    kind: Literal["none"] = "none"
    assert split_reasoning(text, kind) == ("", text)
    assert ReasoningParser(kind).closed
