"""The index of one language's passages: lexical always, dense where the embedder knows the language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge_base.dense import DenseIndex
from knowledge_base.lexical import LexicalIndex
from knowledge_base.relevance import Evidence
from knowledge_base.terms import terms
from knowledge_base.text import Span

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CANDIDATES", "IndexedPassage", "LanguageIndex"]

CANDIDATES = 50
"""How many passages each method names; all that any method names are then compared by all the evidence."""


@dataclass(frozen=True, slots=True)
class IndexedPassage:
    """``text == document_text[start:end]``; ``sentences`` are offsets into the document too."""

    id: str
    document: str
    title: str
    section: str
    language: str
    text: str
    start: int
    end: int
    sentences: tuple[Span, ...]

    @property
    def heading(self) -> str:
        """What stands above the passage: its document's title and its section."""
        return f"{self.title}. {self.section}" if self.section else self.title

    @property
    def with_heading(self) -> str:
        return f"{self.heading}. {self.text}"

    def sentence_texts(self) -> list[str]:
        """Its heading and its sentences: each of them may be what a question asks for."""
        return [self.heading, *(self.text[span.start - self.start : span.end - self.start] for span in self.sentences)]


class LanguageIndex:
    """Passages of one language; a row is a passage's place in ``passages``."""

    def __init__(self, passages: Sequence[IndexedPassage], lexical: LexicalIndex, dense: DenseIndex | None) -> None:
        self.passages = tuple(passages)
        self._lexical = lexical
        self._dense = dense
        self._terms: dict[int, list[frozenset[str]]] = {}

    @classmethod
    def build(
        cls, passages: Sequence[IndexedPassage], embed: Callable[[Sequence[str]], np.ndarray] | None
    ) -> LanguageIndex:
        """``embed`` gives unit vectors for texts; None where the embedder does not know the language."""
        lexical = LexicalIndex.of(passage.with_heading for passage in passages)
        if embed is None:
            return cls(passages, lexical, None)
        texts = [passage.with_heading for passage in passages]
        sentences = [text for passage in passages for text in passage.sentence_texts()]
        vectors = embed([*texts, *sentences])
        dense = DenseIndex.of(vectors[: len(texts)], vectors[len(texts) :], _starts(passages))
        return cls(passages, lexical, dense)

    @classmethod
    def load(cls, folder: Path, passages: Sequence[IndexedPassage]) -> LanguageIndex:
        lexical = LexicalIndex.load(folder / "bm25", len(passages))
        dense = DenseIndex.load(folder, _starts(passages)) if (folder / "passages.faiss").is_file() else None
        return cls(passages, lexical, dense)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._lexical.save(folder / "bm25")
        if self._dense is not None:
            self._dense.save(folder)

    @property
    def is_dense(self) -> bool:
        return self._dense is not None

    def evidence(self, query: str, vector: np.ndarray | None) -> Iterator[tuple[IndexedPassage, Evidence]]:
        """The evidence for each passage that a method names. ``vector`` ``[dim]``: None asks lexically alone."""
        asked = self._lexical.query(query)
        bm25 = self._lexical.scores(asked)
        rows = {int(row) for row in _largest(bm25, CANDIDATES)}
        if self._dense is not None and vector is not None:
            rows |= self._dense.nearest(vector, CANDIDATES)
        for row in sorted(rows):
            passage, sentence = (
                self._dense.cosines(vector, row) if self._dense is not None and vector is not None else (None, None)
            )
            coverage = max(asked.coverage(found) for found in self._sentence_terms(row))
            yield self.passages[row], Evidence(float(bm25[row]), coverage, passage, sentence)

    def vectors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every text that was embedded, with its vector ``[dim]``."""
        if self._dense is None:
            return
        for row, passage in enumerate(self.passages):
            whole, sentences = self._dense.vectors(row)
            yield passage.with_heading, whole
            yield from zip(passage.sentence_texts(), sentences, strict=True)

    def _sentence_terms(self, row: int) -> list[frozenset[str]]:
        """The terms of each sentence together with those of the headings above it; kept once made."""
        if row not in self._terms:
            heading, *sentences = self.passages[row].sentence_texts()
            above = terms(heading)
            self._terms[row] = [frozenset(above).union(terms(sentence)) for sentence in sentences]
        return self._terms[row]


def _starts(passages: Sequence[IndexedPassage]) -> list[int]:
    starts = [0]
    for passage in passages:
        starts.append(starts[-1] + 1 + len(passage.sentences))
    return starts


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Rows of the ``count`` largest scores above zero, in no order."""
    import numpy as np

    rows = np.argpartition(scores, -count)[-count:] if len(scores) > count else np.arange(len(scores))
    return rows[scores[rows] > 0]
