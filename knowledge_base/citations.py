"""Citations in an answer: brought to one form, checked against their passages, added where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dialogue.steps import Citation, Passage

__all__ = [
    "Claim",
    "Span",
    "Support",
    "attach_citations",
    "check_citations",
    "citations_of",
    "normalise_citations",
    "split_sentences",
    "support",
    "support_share",
    "unsupported_claims",
    "without_citations",
]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text: ``text[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Support:
    """How much of a sentence (0 to 1) stands in ``document[start:end]``, its best window in a passage."""

    score: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Claim:
    """``answer[start:end]`` says something that stands neither in a passage nor in the question."""

    start: int
    end: int
    kind: Literal["number", "date", "name"]


@dataclass(frozen=True, slots=True)
class CheckedCitation:
    """The mark ``[number]`` at ``answer[start:end]``. ``support`` is None when there is no such passage."""

    start: int
    end: int
    number: int
    support: Support | None


def split_sentences(text: str) -> list[Span]:
    """The sentences of an English, Chinese or mixed text, without the white space around them."""
    raise NotImplementedError


def normalise_citations(text: str) -> str:
    """Whatever form the model writes (``[citation:1]``, ``【1】``, ``[^1]``, ``[1, 2]``) becomes ``[1]``, ``[2]``."""
    raise NotImplementedError


def without_citations(text: str) -> str:
    """The text with its ``[n]`` marks taken out."""
    raise NotImplementedError


def support(sentence: str, passage: Passage) -> Support:
    """The share of the sentence's content words (Chinese: character pairs) in the best window of the passage."""
    raise NotImplementedError


def check_citations(answer: str, passages: Sequence[Passage]) -> list[CheckedCitation]:
    """Each ``[n]`` of a normalised answer against passage ``n`` (the first is 1)."""
    raise NotImplementedError


def attach_citations(answer: str, passages: Sequence[Passage], threshold: float = 0.6) -> str:
    """Gives each supported sentence without a citation the number of the passage that supports it best."""
    raise NotImplementedError


def citations_of(answer: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """One :class:`Citation` for each number cited in a normalised answer, with its best supporting span."""
    raise NotImplementedError


def support_share(answer: str, passages: Sequence[Passage], threshold: float = 0.6) -> float:
    """The share of the answer's sentences, 0 to 1, that some passage supports; 0 for an empty answer."""
    raise NotImplementedError


def unsupported_claims(answer: str, passages: Sequence[Passage], question: str, language: str) -> list[Claim]:
    """Numbers, dates and names of the answer that stand in no passage and not in the question."""
    raise NotImplementedError
