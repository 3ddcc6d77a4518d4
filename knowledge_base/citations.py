"""Citations in an answer: brought to one form, checked against their passages, added where they are missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dialogue.steps import Citation, Passage
from knowledge_base.claims import Claim, unsupported_claims
from knowledge_base.support import Support, best_support, content_of, support
from knowledge_base.text import CJK, Span, sentences

__all__ = [
    "SUPPORTED",
    "CheckedCitation",
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

SUPPORTED = 0.6
"""The least support with which a passage is said to bear a sentence out."""

_LABEL = r"(?:citations?|cite|ref(?:erence)?s?|sources?|passages?|documents?|引用|来源|參考|参考|资料|文档|段落)"
_LIST = r"\d{1,3}(?:\s*(?:[,，、;；]|-|–|至)\s*\d{1,3})*"
_FOREIGN = re.compile(
    rf"[\[【［]+\s*\^?\s*(?:{_LABEL}\s*[:：#]?\s*)?(?P<list>{_LIST})(?:\s*†[^\]】］]*)?\s*[\]】］]+(?!\((?:https?:|mailto:|[#/.]))"
    rf"|[(（]\s*{_LABEL}\s*[:：#]?\s*(?P<round>{_LIST})\s*[)）]",
    re.IGNORECASE,
)
_MARK = re.compile(r"\[(\d{1,3})\]")
_REPEATED = re.compile(r"(\[\d{1,3}\])(?:[ ]?\1)+")
_TORN = re.compile(rf"[\[【［]+\s*\^?\s*{_LABEL}\s*[:：]?\s*\d{{0,3}}\s*$", re.IGNORECASE)
_MOST = 20  # a span of numbers wider than this is no list of citations
_LEAST_CONTENT = 2  # terms: "Yes." needs no citation


@dataclass(frozen=True, slots=True)
class CheckedCitation:
    """The mark ``[number]`` at ``answer[start:end]``. ``support`` is None when there is no such passage."""

    start: int
    end: int
    number: int
    support: Support | None


def split_sentences(text: str) -> list[Span]:
    """The sentences of an English, Chinese or mixed text, without the white space around them.

    Marks such as ``[1]`` that follow a full stop belong to the sentence before them.
    """
    return sentences(text)


def normalise_citations(text: str) -> str:
    """Whatever form the model writes (``[citation:1]``, ``【1】``, ``[^1]``, ``[1, 2]``) becomes ``[1]``, ``[1][2]``.

    A mark torn off at the end of the text is dropped. Markdown links and numbers above 999 stay as they are.
    """
    before = None
    while text != before:  # what one pass leaves may read as a citation only now: [(source 2)
        before = text
        text = _TORN.sub("", _REPEATED.sub(r"\1", _FOREIGN.sub(_in_our_form, text)))
    return text


def without_citations(text: str) -> str:
    """The text with its ``[n]`` marks, and the space before each, taken out."""
    return re.sub(r"[ ]?\[\d{1,3}\]", "", text)


def check_citations(answer: str, passages: Sequence[Passage]) -> list[CheckedCitation]:
    """Each ``[n]`` of a normalised answer, in order, against passage ``n`` (the first is 1)."""
    checked: list[CheckedCitation] = []
    for said, marks in _cited(answer):
        for mark in marks:
            number = int(mark[1])
            held = support(said, passages[number - 1]) if 1 <= number <= len(passages) else None
            checked.append(CheckedCitation(mark.start(), mark.end(), number, held))
    return checked


def attach_citations(answer: str, passages: Sequence[Passage], threshold: float = SUPPORTED) -> str:
    """Gives each supported sentence without a citation the number of the passage that supports it best."""
    parts: list[str] = []
    done = 0
    spans = sentences(answer)
    for place, span in enumerate(spans):
        said = answer[span.start : span.end]
        followed = place + 1 < len(spans) and _only_marks(answer[spans[place + 1].start : spans[place + 1].end])
        if _MARK.search(said) or followed or said.endswith(("?", "？")) or len(content_of(said)) < _LEAST_CONTENT:
            continue
        best = best_support(said, passages)
        if best is None or best[1].score < threshold:
            continue
        gap = "" if re.search(rf"[{CJK}。！]$", said) else " "
        parts += [answer[done : span.end], f"{gap}[{best[0]}]"]
        done = span.end
    return "".join([*parts, answer[done:]])


def citations_of(answer: str, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """One :class:`Citation` for each passage cited in a normalised answer, by number, with its best supporting span."""
    best: dict[int, Support] = {}
    for checked in check_citations(answer, passages):
        if checked.support is not None:
            known = best.get(checked.number)
            if known is None or checked.support.score > known.score:
                best[checked.number] = checked.support
    return tuple(_citation(number, passages[number - 1], best[number]) for number in sorted(best))


def support_share(answer: str, passages: Sequence[Passage], threshold: float = SUPPORTED) -> float:
    """The share of the answer's sentences, 0 to 1, that some passage supports; 0 for an answer without content."""
    said = [answer[span.start : span.end] for span in sentences(answer)]
    told = [sentence for sentence in said if len(content_of(sentence)) >= _LEAST_CONTENT]
    judged = [best_support(sentence, passages) for sentence in told]
    return sum(best is not None and best[1].score >= threshold for best in judged) / len(told) if told else 0.0


def _in_our_form(match: re.Match[str]) -> str:
    numbers: list[int] = []
    for part in re.split(r"[,，、;；]", match["list"] or match["round"]):
        first, *last = (int(number) for number in re.findall(r"\d+", part))
        until = last[-1] if last else first
        if not 0 <= until - first < _MOST:
            return match.group()
        numbers.extend(range(first, until + 1))
    return "".join(f"[{number}]" for number in dict.fromkeys(numbers))


def _cited(answer: str) -> list[tuple[str, list[re.Match[str]]]]:
    """Each sentence that carries marks; marks on a line of their own belong to the sentence before them."""
    found: list[tuple[str, list[re.Match[str]]]] = []
    before = ""
    for span in sentences(answer):
        said = answer[span.start : span.end]
        marks = list(_MARK.finditer(answer, span.start, span.end))
        said = before if _only_marks(said) else said
        if marks:
            found.append((said, marks))
        before = said
    return found


def _only_marks(sentence: str) -> bool:
    return bool(_MARK.search(sentence)) and not any(c.isalnum() for c in _MARK.sub("", sentence))


def _citation(number: int, passage: Passage, held: Support) -> Citation:
    return Citation(
        number=number,
        document=passage.document,
        title=passage.title,
        section=passage.section,
        start=held.start,
        end=held.end,
        quote=passage.text[held.start - passage.start : held.end - passage.start],
        support=held.score,
    )
