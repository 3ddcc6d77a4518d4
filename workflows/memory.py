"""What a conversation remembers: its last turns, the message ids it has seen, what it takes along."""

from __future__ import annotations

from dialogue.messages import ChatMessage, Say, message_digest
from dialogue.turn import Carried, CarriedId, Recalled, TurnSummary, newest_within

__all__ = ["MAX_IDS", "MAX_TURNS", "Memory", "brief"]

MAX_TURNS = 50
MAX_IDS = 64
BRIEF_CHARACTERS = 1000
_REPEATED = ("pass", "mask", "human")
"""Verdicts of turns that a model is shown again."""


def brief(turn: TurnSummary) -> TurnSummary:
    """``turn`` with the beginning of its question alone: enough for people, where no model reads it again."""
    if len(turn.question) <= BRIEF_CHARACTERS:
        return turn
    return turn.model_copy(update={"question": turn.question[:BRIEF_CHARACTERS] + "…"})


class Memory:
    """Bounded by construction, so that a conversation of years costs what one of an hour does."""

    def __init__(self, carried: Carried | None = None) -> None:
        carried = carried or Carried()
        self.turns: list[TurnSummary] = list(carried.turns)
        self.total = carried.total
        self._ids: dict[str, CarriedId] = {used.message_id: used for used in carried.ids}
        self.seen: dict[str, list[str]] = {name: list(values) for name, values in carried.seen.items()}
        self.page = carried.page
        """The chat page's address, as the last plan has it."""

    def recall(self, recalled: Recalled) -> None:
        """Takes over what the audit knows of an earlier run."""
        self.turns = newest_within(recalled.turns)
        self.total = recalled.total
        told = (CarriedId(message_id=t.message_id, text_digest=t.text_digest, turn=t.turn) for t in recalled.turns)
        self._ids.update((used.message_id, used) for used in (*recalled.ids, *told))

    def use_id(self, message: Say, turn: int) -> None:
        self._ids[message.message_id] = CarriedId(
            message_id=message.message_id, text_digest=message_digest(message.text, message.files), turn=turn
        )
        while len(self._ids) > MAX_IDS:
            del self._ids[next(iter(self._ids))]

    def used(self, message_id: str) -> CarriedId | None:
        return self._ids.get(message_id)

    def remember(self, turn: TurnSummary) -> None:
        """Adds a turn, or replaces the summary of one that was still open. The oldest beyond the bounds are left."""
        turn = turn if turn.verdict in _REPEATED else brief(turn)
        self.turns = [*(known for known in self.turns if known.turn != turn.turn), turn]
        self.turns.sort(key=lambda known: known.turn)
        self.turns = newest_within(self.turns[-MAX_TURNS:])

    def see(self, name: str, value: str | None) -> bool:
        """Notes a value of a keyword-list attribute; true when it is new."""
        values = self.seen.setdefault(name, [])
        if not value or value in values:
            return False
        values.append(value)
        del values[:-20]
        return True

    def history(self) -> tuple[ChatMessage, ...]:
        """The answered turns as messages, oldest first; what was refused or withheld is not repeated to a model."""
        messages: list[ChatMessage] = []
        for turn in self.turns:
            if turn.verdict in _REPEATED and turn.question and turn.answer:
                messages.append(ChatMessage(role="user", content=turn.question))
                messages.append(ChatMessage(role="assistant", content=turn.answer))
        return tuple(messages)

    def carry(self) -> Carried:
        """What continue-as-new takes along."""
        return Carried(
            turns=tuple(self.turns),
            ids=tuple(self._ids.values()),
            total=self.total,
            seen={name: tuple(values) for name, values in self.seen.items()},
            page=self.page,
        )
