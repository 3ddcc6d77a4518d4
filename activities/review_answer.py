"""Step 5: what may be shown. Citations are held against their spans, claims against the passages, and the tenant's
policy gives the verdict. Of several candidates the best supported one is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from temporalio import activity

from activities.policies import Policies
from activities.stream_events import StreamEvents
from dialogue.steps import Action, Candidate, Finding, Passage, ReceivedFile, ReviewAnswer, ReviewedAnswer
from knowledge_base.citations import (
    SUPPORTED,
    Span,
    attach_citations,
    check_citations,
    citations_of,
    normalise_citations,
    split_sentences,
    support,
    support_share,
    unsupported_claims,
    without_citations,
)
from policy.policy import Policy, ReviewVerdict

__all__ = ["ReviewAnswerStep"]

SAID_OF_A_NUMBER = 0.8
"""A sentence with a number needs more than this share of its words in one sentence of a passage."""

_LABEL = re.compile(r"^(?:question|answer|问题|问|回答|答案|答)\s*[:：]\s*", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"\n\s*(?:question|问题)\s*[:：]", re.IGNORECASE)
_STERNNESS: dict[str, int] = {action: place for place, action in enumerate(get_args(Action))}


@dataclass(frozen=True, slots=True)
class _Judged:
    text: str
    findings: tuple[Finding, ...]
    verdict: ReviewVerdict
    support: float
    index: int


class ReviewAnswerStep:
    """``template_tokens`` are the special strings of every model here: none may be left in an answer."""

    def __init__(self, policies: Policies, template_tokens: Sequence[str], events: StreamEvents) -> None:
        self._policies = policies
        self._template_tokens = tuple(template_tokens)
        self._events = events

    @activity.defn(name="review_answer")
    async def review_answer(self, request: ReviewAnswer) -> ReviewedAnswer:
        """Fails closed: what cannot be reviewed fails the step, and nothing is shown."""
        policy = await self._policies.by_digest(request.policy, request.policy_digest)
        reviewed = await asyncio.to_thread(self._review, request, policy)
        if reviewed.verdict in ("pass", "mask"):
            await self._tell_citations(request, reviewed)
        return reviewed

    async def _tell_citations(self, request: ReviewAnswer, reviewed: ReviewedAnswer) -> None:
        """Each with the whole passage, so that a reader sees the span where it stands."""
        for citation in reviewed.citations:
            passage = request.passages[citation.number - 1]
            data = citation.model_dump(mode="json") | {"passage": {"text": passage.text, "start": passage.start}}
            key = f"citation:{citation.number}:{activity.info().activity_id}"
            await self._events.publish(request.turn, "citation", data, key=key)

    def _review(self, request: ReviewAnswer, policy: Policy) -> ReviewedAnswer:
        given = request.candidates or (
            Candidate(answer=request.answer, reasoning=request.reasoning, finish_reason="stop"),
        )
        several = bool(request.candidates)
        judged = [
            self._judge(request, policy, each.answer, each.finish_reason if several else request.finish_reason, index)
            for index, each in enumerate(given)
        ]
        best = min(judged, key=lambda each: (_STERNNESS[each.verdict], -each.support, each.index))
        return ReviewedAnswer(
            verdict=best.verdict,
            answer=policy.mask(best.text, best.findings),
            reasoning=policy.cover(given[best.index].reasoning),
            findings=best.findings,
            citations=citations_of(best.text, request.passages) if best.verdict != "block" else (),
            kept=best.index,
            reason=_reason(best),
        )

    def _judge(self, request: ReviewAnswer, policy: Policy, answer: str, finish: str, index: int) -> _Judged:
        text = answer.strip()
        if not request.quoted:
            text = _without_headings(without_echo(normalise_citations(text), request.question), request.passages)
            text = _with_citations_that_hold(text, request.passages)
        findings = policy.check_output(
            text,
            question=request.question,
            passages_text="\n".join(each.text for each in (*request.passages, *request.files)),
            expected_language=request.language,
            finish_reason=finish,
            template_tokens=self._template_tokens,
            claims=() if request.quoted else _claims(text, request),
            quoted=request.quoted,
        )
        share = support_share(text, request.passages) if request.passages else 0.0
        return _Judged(text, findings, policy.verdict(findings), share, index)


def without_echo(answer: str, question: str) -> str:
    """The answer without the question it begins with, without a label such as ``Answer:``, and without the next
    question that it goes on to ask itself. Small models do all of these.
    """
    text = _LABEL.sub("", answer).lstrip()
    if question and text.casefold().startswith(question.casefold()):
        text = text[len(question) :].lstrip()
    text = _NEXT_QUESTION.split(_LABEL.sub("", text))[0].strip()
    quotes = text.count('"')
    whole = quotes == 2 and text.startswith('"') and text.endswith('"')
    one_sided = quotes == 1 and (text.startswith('"') or text.endswith('"'))
    return text.strip('"').strip() if whole or one_sided else text


def _without_headings(text: str, passages: Sequence[Passage]) -> str:
    """Drops the lines that only say a passage's heading again."""
    headings = {_letters(part) for each in passages for part in (each.title, each.section, each.title + each.section)}
    return "\n".join(line for line in text.split("\n") if not line.strip() or _letters(line) not in headings).strip()


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _with_citations_that_hold(text: str, passages: Sequence[Passage]) -> str:
    """Takes out the marks whose passage does not support their sentence, and gives each supported sentence its own.

    A model writes the number of a passage it did not use as easily as the right one; what counts is where the
    sentence stands. A sentence that no passage supports keeps its wrong mark, and the policy hears of it.
    """
    repaired = text
    for mark in reversed(check_citations(text, passages)):
        if mark.support is None or mark.support.score < SUPPORTED:
            repaired = repaired[: mark.start].rstrip(" ") + repaired[mark.end :]
    attached = attach_citations(repaired, passages)
    return attached if check_citations(attached, passages) else text


def _claims(text: str, request: ReviewAnswer) -> list[Finding]:
    """Findings before the policy has said what is done about each rule."""
    sources = (*request.passages, *map(_as_passage, request.files))
    found = [
        Finding(rule="unsupported_claim", label=claim.kind, start=claim.start, end=claim.end, action="pass")
        for claim in unsupported_claims(text, sources, request.question, request.language)
    ]
    found += _numbers_out_of_place(text, sources)
    marks = check_citations(text, request.passages)
    found += [
        Finding(
            rule="citation_unsupported", label=f"citation {mark.number}", start=mark.start, end=mark.end, action="pass"
        )
        for mark in marks
        if mark.support is None or mark.support.score < SUPPORTED
    ]
    if request.passages and not request.files and not marks:  # what a file says is not cited
        found.append(Finding(rule="no_citation", label="no citation", start=0, end=len(text), action="pass"))
    return found


def _as_passage(file: ReceivedFile) -> Passage:
    """What the asker brought holds a claim up as a passage does; only, it has no number to be cited by."""
    return Passage(
        id="",
        document=file.name,
        title=file.name,
        section="",
        language="",
        text=file.text,
        start=0,
        end=len(file.text),
        score=1.0,
    )


def _numbers_out_of_place(text: str, passages: Sequence[Passage]) -> list[Finding]:
    """Sentences whose number stands somewhere, but in no sentence that says the same: "express costs 12.90", where
    12.90 is the price of another delivery."""
    held = [_sentence_of(each, span) for each in passages for span in split_sentences(each.text)]
    found: list[Finding] = []
    for span in split_sentences(text):
        said = without_citations(text[span.start : span.end])
        if held and re.search(r"\d", said) and max(support(said, each).score for each in held) <= SAID_OF_A_NUMBER:
            label = "number out of place"
            found.append(Finding(rule="unsupported_claim", label=label, start=span.start, end=span.end, action="pass"))
    return found


def _sentence_of(passage: Passage, span: Span) -> Passage:
    start = passage.start + span.start
    text = passage.text[span.start : span.end]
    return passage.model_copy(update={"text": text, "start": start, "end": start + len(text)})


def _reason(judged: _Judged) -> str:
    """The rules behind a verdict, without a word of the text."""
    behind = sorted({f"{each.rule} ({each.label})" for each in judged.findings if each.action == judged.verdict})
    return ", ".join(behind) if judged.verdict != "pass" else ""
