"""Reads one answer token by token: reasoning and answer apart, and what there is to say about either."""

from __future__ import annotations

from collections.abc import Iterable

from dialogue.steps import GenerateAnswer
from model_runtime.reasoning import Channel, ReasoningParser
from model_runtime.tokenizer import Tokenizer
from policy.drift import LanguageDrift

__all__ = ["AnswerReader", "Piece"]

Piece = tuple[Channel, str]


class AnswerReader:
    """All it says is a function of the token ids, so a resumed answer is judged as if it had never stopped.

    ``read``: tokens so far. ``reasoning_tokens``: those before the closing tag. ``truncated``: the thinking budget
    was spent while the reasoning was open, so the engine put the closing tag in. ``drifted``: the answer, not the
    reasoning, went over to another language than was asked in; nothing is read after that.
    """

    def __init__(self, request: GenerateAnswer, tokenizer: Tokenizer, thinking_budget: int | None) -> None:
        self._parser = ReasoningParser(request.reasoning)
        self._detokenizer = tokenizer.detokenizer()
        self._drift = LanguageDrift(request.language, (passage.text for passage in request.passages))
        self._reasons = request.reasoning == "r1"
        self._budget = thinking_budget
        self._texts: dict[Channel, list[str]] = {"reasoning": [], "answer": []}
        self.read = 0
        self.reasoning_tokens = 0
        self.truncated = False
        self.drifted = False

    @property
    def closed(self) -> bool:
        """Whether the reasoning is over."""
        return self._parser.closed

    @property
    def bypassed(self) -> bool:
        """Whether the reasoning was closed without a word in it."""
        return self._reasons and self.closed and not self.text("reasoning")

    def feed(self, token_ids: Iterable[int]) -> list[Piece]:
        """What became certain; ``read`` stops at the token with which the answer drifted."""
        pieces: list[Piece] = []
        for token_id in token_ids:
            if self.drifted:
                break
            if not self.closed and self.read == self._budget:
                self.truncated = True
            pieces += self._take(self._parser.feed(self._detokenizer.feed((token_id,))))
            self.read += 1
            self.reasoning_tokens += not self.closed
        return pieces

    def end(self) -> list[Piece]:
        """What was held back until nothing can follow."""
        return self._take(self._parser.feed(self._detokenizer.flush()) + self._parser.close())

    def text(self, channel: Channel) -> str:
        return "".join(self._texts[channel]).strip()

    def _take(self, pieces: list[Piece]) -> list[Piece]:
        for channel, text in pieces:
            self._texts[channel].append(text)
            if channel == "answer":
                self.drifted = self._drift.feed(text)
        return pieces
