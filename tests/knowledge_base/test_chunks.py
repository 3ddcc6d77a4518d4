from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_base.chunks import Chunking, chunks
from knowledge_base.documents import document_of
from knowledge_base.text import sentences, size_of
from tests.knowledge_base.conftest import RETURNS_EN

PIECES = st.sampled_from(
    ["# A\n", "## B b\n", "### 退货\n", "One sentence. ", "Mr. Smith paid 3.50 EUR! ",
     "第一句。第二句！", "\n\n", "- item\n", "```\n# no heading\n```\n", "word " * 40, "长" * 90, "| a | b |\n",
     "x" * 300, "\n", " "]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join), st.integers(10, 150))
def test_chunks_slice_right_never_cross_a_heading_and_lose_nothing(text: str, words: int) -> None:
    """Offsets are exact, sizes bounded, order kept, and every letter outside headings is in exactly one chunk."""
    document = document_of("d", "start " + text)
    found = chunks(document, Chunking(words=words))
    headings = [match.start() for match in re.finditer("^ {0,3}#{1,6} ", document.text, re.MULTILINE)]
    last, between = 0, ""
    for chunk in found:
        assert last <= chunk.start < chunk.end
        piece = document.text[chunk.start : chunk.end]
        assert piece == piece.strip()
        assert size_of(piece) <= words
        assert [chunk.start, chunk.end] == [chunk.sentences[0].start, chunk.sentences[-1].end]
        assert "```" in text or not any(chunk.start <= heading < chunk.end for heading in headings)
        between += document.text[last : chunk.start]
        last = chunk.end
    left = [line for line in (between + document.text[last:]).splitlines() if not line.strip().startswith("#")]
    assert not any(character.isalnum() for character in "".join(left))


def test_a_chunk_knows_the_headings_above_it() -> None:
    """The section is the path of headings below the title."""
    text = RETURNS_EN + "\n### How fast\n\nBanks need a day. \n\n## Other\n\nEnd.\n"
    document = document_of("d", text)
    assert [(chunk.section, document.text[chunk.start : chunk.end][:8]) for chunk in chunks(document)] == [
        ("Online orders", "Shoes an"),
        ("Refunds", "The refu"),
        ("Refunds > How fast", "Banks ne"),
        ("Other", "End."),
    ]


def test_what_looks_like_a_heading_inside_a_code_fence_is_none() -> None:
    """A comment in a shell example opens no section."""
    document = document_of("d", "# T\n\n```sh\n# not a heading\nls\n```\n")
    assert [chunk.section for chunk in chunks(document)] == [""]


def test_a_long_section_is_cut_between_sentences_in_even_parts() -> None:
    """No sentence that fits is cut, in either language."""
    english = "The parcel is sent on the next working day after the order. " * 20
    chinese = "包裹会在下单后的下一个工作日寄出，请注意查收短信通知。" * 20
    for text, stop in ((english, "."), (chinese, "。")):
        document = document_of("d", text)
        found = chunks(document)
        sizes = [size_of(document.text[chunk.start : chunk.end]) for chunk in found]
        assert len(found) >= 2
        assert max(sizes) - min(sizes) <= 30
        assert all(document.text[chunk.end - 1] == stop for chunk in found)


def test_sentences_end_where_sentences_end() -> None:
    """Abbreviations, decimals and initials end none; Chinese stops, list items and paragraphs do."""
    cases = {
        "Mr. Smith paid $3.50. He left!": ["Mr. Smith paid $3.50.", "He left!"],
        "See No. 5, e.g. the U.S. law. [1] Then go.": ["See No. 5, e.g. the U.S. law. [1]", "Then go."],
        "你好。“可以！”他说。\n\n第二段": ["你好。", "“可以！”", "他说。", "第二段"],
        "Soft\nwrapped line.\n- one\n- two\n\n1. Do it": ["Soft\nwrapped line.", "- one", "- two", "1. Do it"],
    }
    for text, expected in cases.items():
        assert [text[span.start : span.end] for span in sentences(text)] == expected
