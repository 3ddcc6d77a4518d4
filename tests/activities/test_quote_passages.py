"""Quotations are whole sentences of the passage, around what was asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activities.quote_passages import MAX_CHARACTERS, nearest_sentences, quote
from dialogue.steps import Passage


def _passage(text: str, *, score: float = 0.9, id_: str = "p") -> Passage:
    return Passage(
        id=id_, document="d.md", title="T", section="S", language="en", text=text, start=0, end=len(text), score=score
    )


def test_a_short_passage_is_quoted_whole() -> None:
    """The key fact in its first sentence is never left out."""
    text = "The daily transfer limit is 10,000 EUR. It starts again at midnight. Own accounts do not count."
    assert nearest_sentences("What is the daily transfer limit?", _passage(text)) == text


def test_a_long_passage_is_cut_at_sentences_around_the_answer() -> None:
    """What is nearest to the question is in; nothing is cut in the middle."""
    filler = "Nothing of interest stands here at all. " * 12
    answer = "A replacement card costs 9 EUR."
    text = f"{filler}{answer} {filler}".strip()
    quoted = nearest_sentences("How much does a replacement card cost?", _passage(text))
    assert answer in quoted
    assert len(quoted) <= MAX_CHARACTERS
    assert quoted.endswith(".")


def test_a_second_passage_is_quoted_only_when_it_is_as_good() -> None:
    """A far worse one would only confuse."""
    best, worse, near = _passage("You have 30 days."), _passage("Ask us.", score=0.4), _passage("Or 21.", score=0.89)
    assert quote("How long?", "en", (best, worse)).count("[") == 1
    assert quote("How long?", "en", (best, near)).count("[") == 2
    assert quote("How long?", "en", ()) == ""


@given(st.text(alphabet="ab .。！?\n限", max_size=400), st.text(max_size=40))
def test_a_quotation_is_always_of_the_passage(text: str, question: str) -> None:
    """Apart from white space, every quotation stands in the passage as it is."""
    quoted = nearest_sentences(question, _passage(text))
    assert "".join(quoted.split()) in "".join(text.split())
