"""From token ids to reasoning and answer: wherever tokens begin and end, nothing of one comes out as the other."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.reasoning import ReasoningParser, split_reasoning
from tests.model_runtime.conftest import TinyR1
from tests.support.tiny_r1_texts import CLOSE, LESSONS

pytestmark = pytest.mark.timeout(600)  # the first to come trains the tiny model

TEXTS = sorted(
    {each.thinking + CLOSE + each.answer for each in LESSONS} | {each.opening + each.ring for each in LESSONS}
)
READABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that stand for themselves in a byte-level vocabulary; the others have the signs from U+0100 on."""


def byte_ids(tiny_r1: TinyR1, data: bytes) -> list[int]:
    """The token of each byte, so that every character of several bytes is cut."""
    others = [byte for byte in range(256) if byte not in READABLE]
    sign = {byte: chr(byte) for byte in READABLE} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    ids = [tiny_r1.tokenizer.token_id(sign[byte]) for byte in data]
    assert None not in ids
    return [id_ for id_ in ids if id_ is not None]


def read(tiny_r1: TinyR1, chunks: Iterable[list[int]], expected: tuple[str, str]) -> tuple[str, str]:
    """Reasoning and answer; at each moment what was told is the beginning of what is expected."""
    parser, text = ReasoningParser("r1"), tiny_r1.tokenizer.detokenizer()
    told = {"reasoning": "", "answer": ""}
    for chunk in chunks:
        for channel, piece in parser.feed(text.feed(chunk)):
            told[channel] += piece
        assert (expected[0].startswith(told["reasoning"]), expected[1].startswith(told["answer"])) == (True, True)
        assert not told["answer"] or told["reasoning"] == expected[0]
    for channel, piece in parser.feed(text.flush()) + parser.close():
        told[channel] += piece
    return told["reasoning"], told["answer"]


def cut(ids: list[int], data: st.DataObject) -> list[list[int]]:
    at = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    return [ids[start:end] for start, end in zip([0, *at], [*at, len(ids)], strict=True)]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_split_of_a_text_is_the_same(text: str) -> None:
    """Cut in two at each place, and sign by sign."""
    expected = split_reasoning(text, "r1")
    for at in range(len(text) + 1):
        parser, told = ReasoningParser("r1"), {"reasoning": "", "answer": ""}
        for channel, piece in (*parser.feed(text[:at]), *parser.feed(text[at:]), *parser.close()):
            told[channel] += piece
        assert (told["reasoning"], told["answer"]) == expected
    parser, told = ReasoningParser("r1"), {"reasoning": "", "answer": ""}
    for sign in text:
        for channel, piece in parser.feed(sign):
            told[channel] += piece
    for channel, piece in parser.close():
        told[channel] += piece
    assert (told["reasoning"], told["answer"]) == expected


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_token_border_is_the_same(tiny_r1: TinyR1, text: str) -> None:
    """In the model's own tokens and byte by byte; the closing tag as its token and spelt out."""
    own, (before, tag, after) = list(tiny_r1.tokenizer.encode(text)), text.partition("</think>")
    close = list(tiny_r1.tokenizer.encode(tag))
    as_bytes = [*byte_ids(tiny_r1, before.encode()), *close, *byte_ids(tiny_r1, after.encode())]
    spelt = byte_ids(tiny_r1, text.encode())
    assert len(close) == (1 if tag else 0)
    expected = split_reasoning(text, "r1")
    for ids in (own, as_bytes, spelt):
        assert read(tiny_r1, [[id_] for id_ in ids], expected) == expected
        assert read(tiny_r1, [ids[:7], ids[7:]], expected) == expected


@given(
    reasoning=st.text(alphabet="想一想😀é<a/ \n", max_size=20),
    answer=st.text(alphabet="好的😀ñ</think> \n", max_size=20),
    lost=st.integers(0, 3),
    data=st.data(),
)
def test_a_character_that_is_cut_is_held_back(
    tiny_r1: TinyR1, reasoning: str, answer: str, lost: int, data: st.DataObject
) -> None:
    """Any chunks of single bytes, also where the last character never becomes whole."""
    close = list(tiny_r1.tokenizer.encode("</think>"))
    kept = answer.encode()[: len(answer.encode()) - lost]
    whole = reasoning + "</think>" + kept.decode(errors="ignore")
    expected = split_reasoning(whole, "r1")
    ids = [*byte_ids(tiny_r1, reasoning.encode()), *close, *byte_ids(tiny_r1, kept)]
    assert read(tiny_r1, cut(ids, data), expected) == expected


@given(
    st.lists(st.sampled_from([0xE5, 0xA5, 0xBD, 0xF0, 0x9F, 0x98, 0x80, 0x61, 0x3C, 0x0A, -1]), max_size=30), st.data()
)
def test_bytes_that_are_no_text_leak_nothing(tiny_r1: TinyR1, data_bytes: list[int], data: st.DataObject) -> None:
    """Broken sequences around the closing tag (-1) stay on their own side of it."""
    close = tiny_r1.tokenizer.encode("</think>")[0]
    ids = [close if byte < 0 else byte_ids(tiny_r1, bytes([byte]))[0] for byte in data_bytes]
    detokenizer = tiny_r1.tokenizer.detokenizer()
    expected = split_reasoning(detokenizer.feed(ids) + detokenizer.flush(), "r1")
    assert read(tiny_r1, cut(ids, data), expected) == expected
    if -1 in data_bytes:
        first = data_bytes.index(-1)
        own = tiny_r1.tokenizer.decode(ids[:first]).strip().rstrip("\ufffd")
        assert expected[0].rstrip("\ufffd").strip() == own.strip()
    else:
        assert expected[1] == ""
