"""A rung of the ladder: the best passages themselves are the answer, word for word, with their citations."""

from __future__ import annotations

from temporalio import activity

from activities.stream_events import StreamEvents
from dialogue.steps import GeneratedAnswer, Passage, QuotePassages, Usage
from knowledge_base.citations import split_sentences, support

__all__ = ["QuotePassagesStep", "quote"]

MAX_PASSAGES = 2
MAX_CHARACTERS = 400
LEAD = {
    "en": "From our documents:",
    "zh": "资料原文如下：",
}


def quote(question: str, language: str, passages: tuple[Passage, ...]) -> str:
    """The sentences of the best passages that stand nearest to the question, each with its number."""
    lines = [
        f"{nearest_sentences(question, passage)} [{number}]"
        for number, passage in enumerate(passages[:MAX_PASSAGES], start=1)
    ]
    return "\n".join([LEAD.get(language, LEAD["en"]), *lines]) if lines else ""


def nearest_sentences(question: str, passage: Passage) -> str:
    """The sentences around the stretch that shares most with the question, whole, at most ``MAX_CHARACTERS``."""
    near = support(question, passage)
    start, end = near.start - passage.start, near.end - passage.start
    spans = split_sentences(passage.text)
    touched = [span for span in spans if span.end > start and span.start < end] or spans[:1]
    first = touched[0].start
    last = touched[0].end
    for span in spans:
        if span.start >= first and span.end - first <= MAX_CHARACTERS:
            last = span.end
    return " ".join(passage.text[first:last].split())


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
            shown=tuple(passage.id for passage in request.passages[:MAX_PASSAGES]),
            quoted=True,
        )
