"""What a run remembered of its conversation before each of its turns, as the workflow does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from dialogue.messages import ChatMessage
from dialogue.turn import Carried, Recalled, TurnSummary
from replay.turns import Turn, parsed
from workflows.memory import Memory

__all__ = ["RunMemory"]


class RunMemory:
    """Takes what the run began with: turns that it carried or that the audit told it, or a question's messages."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._given: tuple[ChatMessage, ...] = ()

    def carry(self, carried: Any) -> None:
        self._memory = Memory(parsed(carried, Carried))

    def recall(self, recalled: Recalled) -> None:
        self._memory.recall(recalled)

    def give(self, messages: tuple[ChatMessage, ...]) -> None:
        self._given = messages

    def told(self, turns: Iterable[Turn]) -> Iterator[Turn]:
        """The turns of the run, in order, each with the messages before it."""
        for turn in turns:
            yield turn.model_copy(update={"before": self._messages()})
            same = ("turn", "message_id", "question", "answer", "verdict")
            summary = parsed({**{name: getattr(turn, name) for name in same}, "text_digest": ""}, TurnSummary)
            repeated = not turn.steps  # an earlier run's turn, whose reply this one gave again
            if turn.state == "done" and not repeated and summary is not None:
                self._memory.remember(summary)

    def _messages(self) -> tuple[ChatMessage, ...]:
        try:
            return (*self._given, *self._memory.history())
        except ValidationError:  # a text that was edited into none
            return ()
