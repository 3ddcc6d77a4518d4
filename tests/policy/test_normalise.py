"""Normalising: what the model reads, what a word list matches, and the way back to the original."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.normalise import normalise

odd = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list("aeß\r\n\t\u200b\u200d\ufeff\u202e\u0301\u0338\uac00\u1161\u11a8\u3164ＡＢ１，ﬁ㎏發发")),
        st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Ｈｅｌｌｏ　１２３", "Hello 123"),
        ("a\u200bb\ufeffc\u202ed\u00ade", "abcde"),
        ("one\r\ntwo\rthree\u2028four\x85five", "one\ntwo\nthree\nfour\nfive"),
        ("x\x00y\x1bz\tend", "xyz\tend"),
        ("e\u0301\u200b\u0323", unicodedata.normalize("NFKC", "e\u0301\u0323")),
        ("bad \ud800 half", "bad \ufffd half"),
        ("ﬁve ㎏", "five kg"),
        ("한\u1100\u1161\u11a8", "한각"),
    ],
)
def test_the_clean_form_is_nfkc_without_what_cannot_be_seen(text: str, clean: str) -> None:
    """Width, ligatures, newlines, zero-width and control characters are made one; nothing visible is lost."""
    assert normalise(text).text == clean


@given(odd)
def test_the_clean_form_is_idempotent(text: str) -> None:
    """Normalising twice is normalising once, in both forms."""
    once = normalise(text)
    again = normalise(once.text)
    assert again.text == once.text
    assert again.folded.text == once.folded.text


@given(odd)
def test_the_clean_form_is_the_nfkc_of_what_is_kept(text: str) -> None:
    """Working in segments gives what NFKC gives for the whole, so no composition is missed."""
    clean = normalise(text).text
    assert unicodedata.is_normalized("NFKC", clean)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in clean)


@given(odd)
def test_every_character_points_into_the_original_in_order(text: str) -> None:
    """Spans lie within the original, are not empty, and never go back."""
    n = normalise(text)
    assert len(n.starts) == len(n.ends) == len(n.text)
    assert all(0 <= start < end <= len(text) for start, end in zip(n.starts, n.ends, strict=True))
    assert list(n.starts) == sorted(n.starts)
    assert list(n.ends) == sorted(n.ends)


@given(odd)
def test_the_original_behind_the_whole_text_normalises_to_it(text: str) -> None:
    """What lies outside the whole span was invisible."""
    n = normalise(text)
    start, end = n.span(0, len(n.text))
    assert normalise(text[start:end]).text == n.text
    assert normalise(text[:start]).text == normalise(text[end:]).text == ""


@given(odd, st.data())
def test_the_original_behind_a_stretch_contains_it(text: str, data: st.DataObject) -> None:
    """The span of any stretch, normalised by itself, holds that stretch's folded characters."""
    n = normalise(text)
    if not n.text:
        return
    start = data.draw(st.integers(0, len(n.text) - 1))
    end = data.draw(st.integers(start + 1, len(n.text)))
    first, last = n.span(start, end)
    assert normalise(n.text[start:end]).folded.text in normalise(text[first:last]).folded.text


@given(odd)
def test_the_folded_form_maps_every_run_back(text: str) -> None:
    """Each folded character covers a non-empty run, and its span of the original folds to hold it."""
    n = normalise(text)
    folded = n.folded
    assert len(folded.runs) == len(folded.text) + 1
    assert folded.runs[-1] == len(folded.positions)
    assert list(folded.positions) == sorted(folded.positions)
    for i, character in enumerate(folded.text):
        start, end = n.folded_span(i, i + 1)
        assert 0 <= start < end <= len(text)
        assert character in normalise(text[start:end]).folded.text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("發財", "发财"),
        ("裏面", "裡面"),
        ("café", "CAFE\u0301"),
        ("h-e l.l_o", "Heelloo"),
        ("Ｂ　ＡＤ", "bad"),
    ],
)
def test_variants_fold_alike(one: str, other: str) -> None:
    """Case, script, diacritics, inserted marks, repeats and width make no difference to the folded form."""
    assert normalise(one).folded.text == normalise(other).folded.text
