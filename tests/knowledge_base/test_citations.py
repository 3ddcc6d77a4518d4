from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_base.citations import (
    attach_citations,
    check_citations,
    citations_of,
    normalise_citations,
    split_sentences,
    support,
    support_share,
    without_citations,
)
from tests.knowledge_base.conftest import passage

ENGLISH = passage(
    "Shoes bought online can be sent back within 30 days from delivery, unworn and in the original box. "
    "All tags must still be on the item."
)
CHINESE = passage("自签收之日起30天内可以退货，须未穿着并放在原包装盒内。吊牌不能拆掉。", start=7, language="zh")
PASSAGES = (ENGLISH, CHINESE)
TEXTS = st.lists(
    st.sampled_from(
        ["Send shoes back within 30 days. ", "30天内可以退货。", "Yes. ", "[1]", " [2]", "[citation:1]", "【2】",
         "[1, 2]", "[[1]]", "[^3]", "(source 2)", "[1-3]", "[", "]", "【", "citation:", "\n", "\n\n- ", "3.50 EUR ",
         "Why? ", "①", "[99]"]
    ),
    max_size=15,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("Fine [citation:1].", "Fine [1]."),
        ("Fine[citation: 1, 2]", "Fine[1][2]"),
        ("好【1】【引用：2】", "好[1][2]"),
        ("a [^1] b ［２］", "a [1] b [2]"),
        ("a [1-3], b [[2]] (citation 4)", "a [1][2][3], b [2] [4]"),
        ("a [citation:1][citation:1]", "a [1]"),
        ("torn off [citation:", "torn off "),
        ("in [2024] see [1](http://x.example)", "in [2024] see [1](http://x.example)"),
    ],
)
def test_every_form_of_citation_becomes_ours(written: str, ours: str) -> None:
    """Links and years are no citations; a repeated mark is one; a torn one is dropped."""
    assert normalise_citations(written) == ours


@settings(deadline=None)
@given(TEXTS)
def test_normalising_and_attaching_twice_change_nothing_more(text: str) -> None:
    """Both are idempotent, and attaching only ever inserts marks."""
    once = normalise_citations(text)
    assert normalise_citations(once) == once
    attached = attach_citations(once, PASSAGES)
    assert attach_citations(attached, PASSAGES) == attached
    assert without_citations(attached) == without_citations(once)


@settings(deadline=None)
@given(TEXTS)
def test_spans_always_slice_right(text: str) -> None:
    """Marks are where they are said to be, and quotes are slices of their document."""
    spans = split_sentences(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(text[span.start : span.end] == text[span.start : span.end].strip() != "" for span in spans)
    for checked in check_citations(text, PASSAGES):
        assert text[checked.start : checked.end] == f"[{checked.number}]"
    for citation in citations_of(text, PASSAGES):
        cited = PASSAGES[citation.number - 1]
        assert cited.start <= citation.start < citation.end <= cited.end
        assert cited.text[citation.start - cited.start : citation.end - cited.start] == citation.quote


def test_support_finds_the_sentence_and_gives_its_place_in_the_document() -> None:
    """Offsets are the document's, not the passage's; numbers count by value."""
    held = support("You may send shoes back within thirty days from delivery. [1]", ENGLISH)
    assert held.score >= 0.8
    assert ENGLISH.text[held.start - 100 : held.end - 100].endswith("in the original box.")
    other = support("须在三十天内退货，吊牌不能拆掉。", CHINESE)
    assert other.score >= 0.8
    assert (other.start, other.end) == (CHINESE.start, CHINESE.end)


def test_what_a_passage_does_not_say_is_not_supported() -> None:
    """Another subject scores low in both languages, and so does the same subject with little of its content."""
    assert support("Savings accounts earn interest every quarter.", ENGLISH).score < 0.2
    assert support("储蓄账户每季度支付利息。", CHINESE).score < 0.2
    assert support("", ENGLISH).score == 0


def test_supported_sentences_get_the_number_of_their_passage() -> None:
    """Cited ones keep theirs; questions, small talk and unsupported sentences get none."""
    answer = "Yes. Shoes can be sent back within 30 days from delivery. Is that all? Banks lend money. 吊牌不能拆掉。"
    assert attach_citations(answer, PASSAGES) == (
        "Yes. Shoes can be sent back within 30 days from delivery. [1] Is that all? Banks lend money. 吊牌不能拆掉。[2]"
    )
    assert attach_citations("All tags must be on the item.\n[2]", PASSAGES) == "All tags must be on the item.\n[2]"


def test_a_citation_is_checked_against_the_sentence_it_follows() -> None:
    """A wrong number scores low, a number without passage has no support, a mark alone belongs to what precedes it."""
    right, wrong, none, alone = check_citations(
        "All tags must still be on the item. [1] All tags must still be on the item. [2] Tags must be on. [7]\n\n[1]",
        PASSAGES,
    )
    assert right.support is not None
    assert right.support.score == 1
    assert wrong.support is not None
    assert wrong.support.score < 0.3
    assert none.support is None
    assert alone.support is not None
    assert alone.support.score == 1


def test_the_share_of_supported_sentences() -> None:
    """Sentences without content do not count."""
    assert support_share("OK. All tags must be on the item. Elephants eat grass.", PASSAGES) == 0.5
    assert support_share("", PASSAGES) == 0
