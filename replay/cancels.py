"""Which turn each cancel ended: the one that its update gave back, else the one that it asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replay.events import first_value
from replay.values import whole_number

__all__ = ["Cancel"]


@dataclass
class Cancel:
    """A ``cancel_turn`` that was accepted in ``event``. ``asked`` is its message, ``running`` the newest turn when it
    came, ``ended`` the turn that it gave back. ``refused``: its handler did, because the answer was already given."""

    event: int
    asked: dict[str, Any]
    running: int | None
    ended: int | None = None
    refused: bool = False

    @property
    def why(self) -> str:
        return str(self.asked.get("reason") or "cancelled by the caller")

    def complete(self, outcome: Any) -> None:
        self.refused = outcome.HasField("failure")
        self.ended = whole_number(first_value(outcome.success))

    def turn(self, saying: dict[str, int]) -> int | None:
        """Its number. ``saying``: the turns by the ids of their messages."""
        if self.ended is not None:
            return self.ended
        if self.asked.get("turn") is not None:
            return whole_number(self.asked["turn"])
        if self.asked.get("message_id") is not None:
            return saying.get(str(self.asked["message_id"]))
        return self.running
