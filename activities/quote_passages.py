"""A rung of the ladder: the best passages themselves are the answer, word for word, with their citations."""

from __future__ import annotations

from temporalio import activity

from activities.stream_events import StreamEvents
from dialogue.steps import GeneratedAnswer, Passage, QuotePassages, Usage
from knowledge_base.citations import split_sentences, support

__all__ = ["QuotePassagesStep", "quote"]

MAX_PASSAGES = 2
MAX_CHARACTERS = 400
NEAR_THE_BEST = 0.9
"""A second passage is quoted only when its score is this share of the best one's."""
LEAD = {
    "en": "From our documents:",
    "zh": "资料原文如下：",
}


def quote(question: str, language: str, passages: tuple[Passage, ...]) -> str:
    """The sentences of the best passages that stand nearest to the question, each with its number."""
    lines = [f"{nearest_sentences(question, passage)} [{number}]" for number, passage in _worth_quoting(passages)]
    return "\n".join([LEAD.get(language, LEAD["en"]), *lines]) if lines else ""


def _worth_quoting(passages: tuple[Passage, ...]) -> list[tuple[int, Passage]]:
    """The best passage, and the next ones whose score is near to it."""
    near = [each for each in passages[:MAX_PASSAGES] if each.score >= NEAR_THE_BEST * passages[0].score]
    return list(enumerate(near, start=1))


def nearest_sentences(question: str, passage: Passage) -> str:
    """Whole sentences around the one nearest to the question, as many as ``MAX_CHARACTERS`` hold.

    What precedes a sentence explains it more often than what follows, so that is taken first.
    """
    spans = split_sentences(passage.text)
    if not spans:
        return passage.text.strip()
    near = support(question, passage)
    middle = (near.start + near.end) / 2 - passage.start
    first = last = min(range(len(spans)), key=lambda index: abs((spans[index].start + spans[index].end) / 2 - middle))
    for index in (*range(first - 1, -1, -1), *range(last + 1, len(spans))):
        start, end = min(first, index), max(last, index)
        if spans[end].end - spans[start].start <= MAX_CHARACTERS:
            first, last = start, end
    return " ".join(passage.text[spans[first].start : spans[last].end].split())


class QuotePassagesStep:
    def __init__(self, events: StreamEvents) -> None:
        self._events = events

    @activity.defn(name="quote_passages")
    async def quote_passages(self, request: QuotePassages) -> GeneratedAnswer:
        """``poor`` is ``empty`` when there is nothing to quote."""
        key = f"retry:{request.try_number}"
        await self._events.publish(request.turn, "retry", {"try": request.try_number, "why": request.why}, key=key)
        answer = quote(request.question, request.language, request.passages)
        return GeneratedAnswer(
            answer=answer,
            finish_reason="stop" if answer else "none",
            poor=None if answer else "empty",
            usage=Usage(),
            model="quotation",
            model_digest="",
            shown=tuple(passage.id for _, passage in _worth_quoting(request.passages)),
            quoted=True,
        )
