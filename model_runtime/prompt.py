"""Builds the prompt of one try: instructions, passages, history and question, cut so that they fit.

For a small model that does not reason, the wording was chosen by trying: SmolLM2-135M in int4, 16 questions on the
English help articles, the right section first, greedy and three samples at 0.6, an answer counted as usable when
it holds the fact and none of the other ones. Two passages numbered [1] and [2] with "answer in one or two
sentences": 28 of 64, most of the rest lists that the numbers started it on. Headings instead of numbers, one short
sentence asked for, and the answer begun for it: 31 with two passages, 49 with one. So it is shown one. Asked to
copy a sentence or given an example first, it did worse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dialogue.faults import PromptTooLong
from dialogue.messages import ChatMessage
from dialogue.steps import ContextCut, Passage
from model_runtime.prompt_texts import plain_texts, reasoning_texts
from model_runtime.reasoning import split_reasoning
from model_runtime.tokenizer import Tokenizer, defuse

__all__ = ["PLAIN_PASSAGES", "Prompt", "build_prompt"]

PLAIN_PASSAGES = 1
"""The passages a small model is shown: of two it mixes the facts. (On the help articles the right passage is the
first for 29 questions of 30.)"""
_THINK = "<think>\n"
_MARKS = ("[webpage ", "[citation:")
"""What R1's prompt is marked up with: a passage may not end itself or cite."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """``ids`` go to the engine; ``shown`` are ids of the passages as [1], [2] …; ``digest`` names ``ids``."""

    ids: tuple[int, ...]
    text: str
    shown: tuple[str, ...]
    cut: ContextCut
    digest: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a prompt is made of, before anything is cut. Texts of others are defused already."""

    question: str
    language: str
    passages: tuple[Passage, ...]
    retrieved: bool
    history: tuple[ChatMessage, ...]
    instructions: str
    today: str | None


def build_prompt(
    *,
    tokenizer: Tokenizer,
    question: str,
    language: str,
    passages: Sequence[Passage] = (),
    retrieved: bool = True,
    history: Sequence[ChatMessage] = (),
    reasoning: Literal["none", "r1"] = "none",
    context: int,
    max_new_tokens: int,
    max_passages: int | None = None,
    today: str | None = None,
) -> Prompt:
    """The prompt for ``question``.

    ``passages`` best first, ``history`` oldest first. ``retrieved`` says that the knowledge base was asked: with
    no passages the prompt then says that nothing was found. ``context`` bounds prompt and ``max_new_tokens``
    together, in tokens; the answer's share is at most half of it. What does not fit is cut in this order: oldest
    turns, then lowest passages; never the question or the instructions (system messages of ``history`` are
    instructions: they join the system prompt, or for R1 the user's message). ``max_passages`` (and, for a model that
    does not reason, ``PLAIN_PASSAGES``) bounds what is shown at all, which is no cut. ``today`` (any readable
    date) is given to R1 with its passages, as its authors do. Template tokens in all texts given are defused.

    Raises :class:`~dialogue.faults.PromptTooLong` when the bare question does not fit, and when passages were
    found of which not even the best fits: to say that nothing was found would be a lie.
    """
    special = tokenizer.special_strings()
    limit = len(passages) if max_passages is None else max_passages
    if reasoning == "none":
        limit = min(limit, PLAIN_PASSAGES)
    parts = _Parts(
        question=defuse(question, special),
        language=language,
        passages=tuple(_defused(passage, special) for passage in passages[:limit]),
        retrieved=retrieved,
        history=tuple(_remembered(message, reasoning, special) for message in history if message.role != "system"),
        instructions="\n".join(defuse(m.content, special) for m in history if m.role == "system"),
        today=today,
    )
    room = context - min(max_new_tokens, context // 2)
    render = _render_r1 if reasoning == "r1" else _render_plain
    text = render(tokenizer, parts, parts.history, parts.passages)
    whole = count = tokenizer.count(text)
    turns, kept = parts.history, parts.passages
    while count > room:
        if turns:
            turns = _without_oldest_turn(turns)
        elif len(kept) > 1:
            kept = kept[:-1]
        else:
            raise PromptTooLong(_too_long(count, room, bool(kept)), field="question")
        text = render(tokenizer, parts, turns, kept)
        count = tokenizer.count(text)
    cut = ContextCut(
        history_messages=len(parts.history) - len(turns),
        passages=tuple(passage.id for passage in parts.passages[len(kept) :]),
        tokens=whole - count,
    )
    ids = tokenizer.encode(text)
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    return Prompt(ids, text, tuple(passage.id for passage in kept), cut, digest)


def _too_long(count: int, room: int, with_passage: bool) -> str:
    what = "the question with its best passage" if with_passage else "the question alone"
    return f"{what} makes a prompt of {count} tokens where {room} fit: shorten it, or set wider model.widths"


def _defused(passage: Passage, special: Sequence[str]) -> Passage:
    cleaned = {name: defuse(getattr(passage, name), special) for name in ("title", "section", "text")}
    return passage.model_copy(update=cleaned)


def _remembered(message: ChatMessage, reasoning: str, special: Sequence[str]) -> ChatMessage:
    """Earlier reasoning is left out, as R1's own template does."""
    content = message.content
    if reasoning == "r1" and message.role == "assistant" and "</think>" in content:
        content = split_reasoning(content, "r1")[1]
    return message.model_copy(update={"content": defuse(content, special)})


def _without_oldest_turn(history: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """Drops everything before the second question."""
    following = (i for i, message in enumerate(history) if i > 0 and message.role == "user")
    return history[next(following, len(history)) :]


def _messages(history: Sequence[ChatMessage], last: str) -> list[dict[str, str]]:
    earlier = [{"role": message.role, "content": message.content} for message in history]
    return [*earlier, {"role": "user", "content": last}]


def _heading(passage: Passage) -> str:
    return " - ".join(filter(None, (passage.title, passage.section)))


def _render_plain(
    tokenizer: Tokenizer, parts: _Parts, history: Sequence[ChatMessage], passages: Sequence[Passage]
) -> str:
    texts = plain_texts(parts.language)
    system, content, opening = texts.bare_system, parts.question, ""
    if passages:
        window = "\n\n".join(f"{_heading(passage)}:\n{passage.text.strip()}" for passage in passages)
        system, opening = texts.system, texts.opening
        content = texts.passages.format(passages=window, question=parts.question)
    elif parts.retrieved:
        content = texts.nothing.format(question=parts.question)
    system = "\n".join(filter(None, (system, parts.instructions)))
    messages = [{"role": "system", "content": system}, *_messages(history, content)]
    return tokenizer.apply_chat_template(messages) + opening


def _render_r1(tokenizer: Tokenizer, parts: _Parts, history: Sequence[ChatMessage], passages: Sequence[Passage]) -> str:
    texts, rules, content = reasoning_texts(parts.language), "", parts.question
    if passages:
        rules, content = texts.rules, _search_answer(texts.search_answer, parts, passages)
    elif parts.retrieved:
        content = texts.nothing.format(question=parts.question)
    content = "\n\n".join(filter(None, (parts.instructions, rules, content)))
    text = tokenizer.apply_chat_template(_messages(history, content))
    # some checkpoints' templates begin the reasoning themselves, older ones do not
    return text if text.endswith(_THINK) else text.removesuffix(_THINK.strip()) + _THINK


def _search_answer(template: str, parts: _Parts, passages: Sequence[Passage]) -> str:
    """The authors' template, without its line of today where the day is not known."""
    if parts.today is None:
        template = "".join(line for line in template.splitlines(keepends=True) if "{cur_date}" not in line)
    results = "\n".join(
        f"[webpage {number} begin]{_heading(passage)}\n{passage.text.strip()}[webpage {number} end]"
        for number, passage in enumerate((_defused(passage, _MARKS) for passage in passages), 1)
    )
    return template.format(search_results=results, cur_date=parts.today, question=parts.question)
