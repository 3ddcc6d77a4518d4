"""One answer that is drawn elsewhere: where it stops, when its reasoning is closed, and what was told of it.

The rules are those of ``batch``, where an engine of our own applies them to each token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model_runtime.protocol import Finish, GenerationRequest, TokenEvent
from model_runtime.repetition import repeats

__all__ = ["Answer"]


@dataclass(slots=True)
class Answer:
    """``longest`` bounds prompt and answer, in tokens. ``closing`` are the ids put in when the thinking budget is
    spent, ``closes`` says whether reasoning is closed within some token ids."""

    request: GenerationRequest
    longest: int
    stop: frozenset[int]
    closing: tuple[int, ...]
    closes: Callable[[list[int]], bool]
    made: list[int] = field(init=False)
    logprobs: list[float | None] = field(init=False)
    told: int = field(init=False)
    _thinking: bool | None = None

    def __post_init__(self) -> None:
        self.made = list(self.request.prefix_ids)
        self.told = len(self.made)
        self.logprobs = [None] * self.told

    @property
    def ids(self) -> list[int]:
        """Prompt and answer, as the server takes them."""
        return [*self.request.prompt_ids, *self.made]

    @property
    def room(self) -> int:
        """Tokens that may still be drawn."""
        return min(self.request.sampling.max_new_tokens - len(self.made), self.longest - len(self.ids))

    @property
    def due(self) -> bool:
        """Whether one of the closing ids comes next. A function of the tokens alone."""
        budget = self.request.sampling.thinking_budget
        if budget is None or not budget <= len(self.made) < budget + len(self.closing):
            return False
        if self._thinking is None:
            self._thinking = not self.closes(self.made[:budget])
        return self._thinking

    def end(self) -> Finish | None:
        """How it ended with the last token, if it did."""
        if self.room <= 0:
            return "length"
        return "repetition" if self.request.sampling.watch and repeats(self.made) else None

    def take(self, ids: Sequence[int], logprobs: Sequence[float | None] | None = None) -> Finish | None:
        """Takes drawn tokens up to where the answer ends or the closing ids are due; what lies beyond is dropped.
        ``logprobs``: how likely each was, where that is known."""
        for id_, logprob in zip(ids, logprobs or [None] * len(ids), strict=True):
            if self.due:
                return None
            if (finish := self._add(id_, logprob)) is not None:
                return finish
        return None

    def close_reasoning(self) -> Finish | None:
        """Puts the closing ids in."""
        budget = self.request.sampling.thinking_budget or 0
        while self.due:
            if (finish := self._add(self.closing[len(self.made) - budget], None)) is not None:
                return finish
        return None

    def _add(self, id_: int, logprob: float | None) -> Finish | None:
        if id_ in self.stop:
            return "stop"
        self.made.append(id_)
        self.logprobs.append(logprob)
        return self.end()

    def event(self, finish: Finish | None) -> TokenEvent:
        """What was made since the last event."""
        start, self.told = self.told, len(self.made)
        logprobs = tuple(self.logprobs[start:]) if self.request.sampling.logprobs else None
        return TokenEvent(self.request.id, start, tuple(self.made[start:]), finish, logprobs=logprobs)
