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
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Literal

from dialogue.faults import PromptTooLong
from dialogue.messages import ChatMessage
from dialogue.steps import ContextCut, Passage, ReceivedFile
from model_runtime.official_prompts import FILE
from model_runtime.prompt_texts import plain_texts, reasoning_texts
from model_runtime.reasoning import split_reasoning
from model_runtime.tokenizer import Tokenizer, defuse

__all__ = ["PLAIN_PASSAGES", "Prompt", "build_prompt"]

PLAIN_PASSAGES = 1
"""The passages a small model is shown: of two it mixes the facts. (On the help articles the right passage is the
first for 29 questions of 30.)"""
_THINK = "<think>\n"
_MARKS = ("[webpage ", "[citation:", "[file name]", "[file content ")
"""What R1's prompt is marked up with: a passage or a file may not end itself or cite."""


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
    files: tuple[ReceivedFile, ...]
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
    files: Sequence[ReceivedFile] = (),
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
    turns, then lowest passages, then the ends of ``files``, the last file's first; never the question or the
    instructions (system messages of ``history`` are instructions: they join the system prompt, or for R1 the user's
    message). ``max_passages`` (and, for a model that does not reason, ``PLAIN_PASSAGES``) bounds what is shown at
    all, which is no cut. ``today`` (any readable date) is given to R1 with its passages, as its authors do. Template
    tokens in all texts given are defused.

    Raises :class:`~dialogue.faults.PromptTooLong` when the bare question does not fit, and when passages were
    found of which not even the best fits, or files of which nothing does: to say that nothing was found, or brought,
    would be a lie.
    """
    special = tokenizer.special_strings()
    limit = len(passages) if max_passages is None else max_passages
    if reasoning == "none":
        limit = min(limit, PLAIN_PASSAGES)
    parts = _Parts(
        question=defuse(question, special),
        files=tuple(_defused_file(file, special) for file in files),
        language=language,
        passages=tuple(_defused(passage, special) for passage in passages[:limit]),
        retrieved=retrieved,
        history=tuple(_remembered(message, reasoning, special) for message in history if message.role != "system"),
        instructions="\n".join(defuse(m.content, special) for m in history if m.role == "system"),
        today=today,
    )
    room = context - min(max_new_tokens, context // 2)
    render = _render_r1 if reasoning == "r1" else _render_plain
    size = partial(_size, partial(render, tokenizer, parts), tokenizer)
    turns, kept, brought = parts.history, parts.passages, parts.files
    whole = count = size(turns, kept, brought)
    while count > room:
        if turns:
            turns = _without_oldest_turn(turns)
        elif len(kept) > 1:
            kept = kept[:-1]
        elif left := _that_fit(brought, partial(size, turns, kept), room):
            brought = left
        else:
            raise PromptTooLong(_too_long(count, room, bool(kept), bool(brought)), field="question")
        count = size(turns, kept, brought)
    cut = ContextCut(
        history_messages=len(parts.history) - len(turns),
        passages=tuple(passage.id for passage in parts.passages[len(kept) :]),
        files=tuple(file.name for file, left in zip_longest(parts.files, brought) if file != left),
        tokens=whole - count,
    )
    text = render(tokenizer, parts, turns, kept, brought)
    ids = tokenizer.encode(text)
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    return Prompt(ids, text, tuple(passage.id for passage in kept), cut, digest)


def _size(
    render: Callable[[Sequence[ChatMessage], Sequence[Passage], Sequence[ReceivedFile]], str],
    tokenizer: Tokenizer,
    history: Sequence[ChatMessage],
    passages: Sequence[Passage],
    files: Sequence[ReceivedFile],
) -> int:
    """In tokens."""
    return tokenizer.count(render(history, passages, files))


def _too_long(count: int, room: int, with_passage: bool, with_files: bool) -> str:
    beside = " and ".join((["its best passage"] if with_passage else []) + (["its files"] if with_files else []))
    what = f"the question with {beside}" if beside else "the question alone"
    return f"{what} makes a prompt of {count} tokens where {room} fit: shorten it, or set wider model.widths"


def _that_fit(
    files: tuple[ReceivedFile, ...], size: Callable[[tuple[ReceivedFile, ...]], int], room: int
) -> tuple[ReceivedFile, ...]:
    """The beginning of ``files``, as many characters of them as fit; nothing where none does."""
    characters = range(sum(len(file.text) for file in files))
    too_many = bisect_right(characters, room, key=lambda count: size(_first(files, count)))
    return _first(files, too_many - 1)


def _first(files: Sequence[ReceivedFile], characters: int) -> tuple[ReceivedFile, ...]:
    """What the first ``characters`` of their texts are of; a file of which nothing is left is left out."""
    found: list[ReceivedFile] = []
    for file in files:
        if characters <= 0:
            break
        found.append(file.model_copy(update={"text": file.text[:characters]}))
        characters -= len(file.text)
    return tuple(found)


def _defused_file(file: ReceivedFile, special: Sequence[str]) -> ReceivedFile:
    return file.model_copy(update={name: defuse(getattr(file, name), special) for name in ("name", "text")})


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
    tokenizer: Tokenizer,
    parts: _Parts,
    history: Sequence[ChatMessage],
    passages: Sequence[Passage],
    files: Sequence[ReceivedFile],
) -> str:
    texts = plain_texts(parts.language)
    system, content, opening = texts.bare_system, parts.question, ""
    if passages:
        window = "\n\n".join(f"{_heading(passage)}:\n{passage.text.strip()}" for passage in passages)
        content = texts.passages.format(passages=window, question=parts.question)
        if not files:
            system, opening = texts.system, texts.opening
    elif parts.retrieved and not files:
        content = texts.nothing.format(question=parts.question)
    brought = [texts.file.format(name=file.name, text=file.text.strip()) for file in files]
    content = "\n\n".join([*brought, content])
    system = "\n".join(filter(None, (system, parts.instructions)))
    messages = [{"role": "system", "content": system}, *_messages(history, content)]
    return tokenizer.apply_chat_template(messages) + opening


def _render_r1(
    tokenizer: Tokenizer,
    parts: _Parts,
    history: Sequence[ChatMessage],
    passages: Sequence[Passage],
    files: Sequence[ReceivedFile],
) -> str:
    texts, rules = reasoning_texts(parts.language), ""
    content = question = _with_files(parts.question, files)
    if passages:
        rules = f"{texts.rules}\n{texts.files}" if files else texts.rules
        content = _search_answer(texts.search_answer, parts, question, passages)
    elif parts.retrieved and not files:
        content = texts.nothing.format(question=question)
    content = "\n\n".join(filter(None, (parts.instructions, rules, content)))
    text = tokenizer.apply_chat_template(_messages(history, content))
    # some checkpoints' templates begin the reasoning themselves, older ones do not
    return text if text.endswith(_THINK) else text.removesuffix(_THINK.strip()) + _THINK


def _with_files(question: str, files: Sequence[ReceivedFile]) -> str:
    """Each in the authors' template, one before the other, the question last."""
    for file in (_defused_file(file, _MARKS) for file in reversed(files)):
        question = FILE.format(file_name=file.name, file_content=file.text, question=question)
    return question


def _search_answer(template: str, parts: _Parts, question: str, passages: Sequence[Passage]) -> str:
    """The authors' template, without its line of today where the day is not known."""
    if parts.today is None:
        template = "".join(line for line in template.splitlines(keepends=True) if "{cur_date}" not in line)
    results = "\n".join(
        f"[webpage {number} begin]{_heading(passage)}\n{passage.text.strip()}[webpage {number} end]"
        for number, passage in enumerate((_defused(passage, _MARKS) for passage in passages), 1)
    )
    return template.format(search_results=results, cur_date=parts.today, question=question)
