"""Documents cut into passages short enough to be read together, with exact offsets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from knowledge_base.documents import Document
from knowledge_base.text import Span, language_of, sentences, size_of

__all__ = ["Chunk", "Chunking", "chunks"]

_MOST = 20  # characters a word: bounds a passage of what has no words, such as an encoded picture


@dataclass(frozen=True, slots=True)
class Chunking:
    """``words``: a passage holds at most so many English words, or twice as many Chinese characters."""

    words: int = 120
    version: int = 1

    def describe(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """``document.text[start:end]``, inside one section; ``sentences`` are offsets into the document too.

    ``section`` is the path of headings below the title, joined by `` > ``.
    """

    start: int
    end: int
    section: str
    language: str
    sentences: tuple[Span, ...]


def chunks(document: Document, chunking: Chunking = Chunking()) -> list[Chunk]:
    """The document's passages in order. None crosses a heading, and none cuts a sentence that fits."""
    found: list[Chunk] = []
    for section, body in _sections(document):
        text = document.text[body.start : body.end]
        spans = [Span(body.start + span.start, body.start + span.end) for span in sentences(text)]
        pieces = [piece for span in spans for piece in _pieces(document.text, span, chunking.words)]
        for group in _groups(document.text, pieces, chunking.words):
            start, end = group[0].start, group[-1].end
            language = language_of(document.text[start:end], document.language)
            found.append(Chunk(start, end, section, language, tuple(group)))
    return found


def _sections(document: Document) -> Iterator[tuple[str, Span]]:
    """Each section's heading path and body. The Markdown parser knows code fences and underlined headings."""
    from markdown_it import MarkdownIt

    starts = [0]
    for line in document.text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(document.text)
    path: list[tuple[int, str]] = []
    begin = 0
    tokens = MarkdownIt("commonmark").parse(document.text)
    for token, inline in itertools.pairwise(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        first, last = token.map
        yield _path_of(path, document.title), Span(begin, starts[first])
        begin = starts[last]
        level = int(token.tag[1])
        path = [step for step in path if step[0] < level] + [(level, _plain(inline.content))]
    yield _path_of(path, document.title), Span(begin, len(document.text))


def _plain(heading: str) -> str:
    return " ".join(heading.replace("*", "").replace("`", "").split())


def _path_of(path: Sequence[tuple[int, str]], title: str) -> str:
    return " > ".join(heading for place, (_, heading) in enumerate(path) if place or heading != title)


def _pieces(text: str, span: Span, words: int) -> Iterator[Span]:
    """The span itself, or where it is too long, parts of it cut at clauses, at spaces, or anywhere."""
    start = span.start
    while span.end - start > _MOST * words or size_of(text[start : span.end]) > words:
        reach = _reach(text, start, span.end, words)
        cut = max((text.rfind(mark, start, reach) + 1 for mark in ("，", "；", "、", ";", ", ", "\n", " ")), default=0)
        cut = cut if cut > start + (reach - start) // 2 else reach
        yield Span(start, start + len(text[start:cut].rstrip()))
        start = cut
        while start < span.end and text[start].isspace():
            start += 1
    if start < span.end:
        yield Span(start, span.end)


def _reach(text: str, start: int, end: int, words: int) -> int:
    """The furthest offset such that ``text[start:offset]`` holds at most ``words``; at least one further than start."""
    low, high = start + 1, min(end, start + _MOST * words)
    while low < high:
        middle = (low + high + 1) // 2
        if size_of(text[start:middle]) <= words:
            low = middle
        else:
            high = middle - 1
    return low


def _groups(text: str, pieces: Sequence[Span], words: int) -> Iterator[list[Span]]:
    """Neighbouring sentences in as few and as equal groups as the limit allows."""
    sizes = [size_of(text[piece.start : piece.end]) for piece in pieces]
    total = sum(sizes)
    target = total / max(1, -(-total // words))
    group: list[Span] = []
    held = 0.0
    for piece, size in zip(pieces, sizes, strict=True):
        if group and (held + size > words or held + size / 2 > target):
            yield group
            group, held = [], 0.0
        group.append(piece)
        held += size
    if group:
        yield group
