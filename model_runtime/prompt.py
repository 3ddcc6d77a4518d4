"""Builds the prompt of one try: instructions, passages, history and question, cut so that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dialogue.messages import ChatMessage
from dialogue.steps import ContextCut, Passage
from model_runtime.tokenizer import Tokenizer

__all__ = ["Prompt", "build_prompt"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """``ids`` go to the engine; ``shown`` are ids of the passages as [1], [2] …; ``digest`` names ``ids``."""

    ids: tuple[int, ...]
    text: str
    shown: tuple[str, ...]
    cut: ContextCut
    digest: str


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
    together, in tokens. What does not fit is cut in this order: oldest turns, then lowest passages; never the
    question or the instructions. ``today`` (any readable date) is given to R1, as its authors do.

    Raises :class:`~dialogue.faults.PromptTooLong` when the bare question does not fit.
    """
    raise NotImplementedError
