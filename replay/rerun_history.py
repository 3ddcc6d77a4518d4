"""The messages that a rerun's model may be shown: those that the recorded one was, and older ones where more are
wanted."""

from __future__ import annotations

from dialogue.faults import InvalidRequest
from dialogue.messages import ChatMessage
from replay.changes import Changes
from replay.turns import Turn

__all__ = ["history_of", "older_messages"]

_TURNS = "generation.history_turns"


def history_of(turn: Turn, changes: Changes) -> tuple[ChatMessage, ...]:
    """Oldest first; of a turn in which no model was asked all that the run remembered, as the workflow holds it, which
    shows of it as many as the plan says. Raises InvalidRequest where more turns are wanted than were shown, and it is
    not known which."""
    if turn.asked is None:
        return turn.before
    shown = turn.asked.history
    kept = tuple(each for place, each in enumerate(shown) if place not in changes.without_history)
    wanted = changes.settings.get(_TURNS)
    if turn.plan is None or not isinstance(wanted, int) or wanted <= turn.plan.generation.history_turns:
        return kept
    older = older_messages(turn)
    if older is None:
        raise InvalidRequest(
            f"set: {_TURNS}: what came before the {len(shown)} messages that turn {turn.turn} was shown is not in this "
            "history: no more than these can be shown.",
            field="set",
        )
    more = 2 * wanted - len(shown)
    return (*older[max(0, len(older) - more) :], *kept)


def older_messages(turn: Turn) -> tuple[ChatMessage, ...] | None:
    """What the run remembered from before the messages that the model was shown; none of it where it was shown all.
    ``None`` where that is not known: the history lacks it, or holds other messages; and where no model was asked."""
    if turn.asked is None:
        return None
    shown = turn.asked.history
    if turn.plan is not None and len(shown) < 2 * turn.plan.generation.history_turns:
        return ()  # there were no more
    place = len(turn.before) - len(shown)
    return turn.before[:place] if place >= 0 and turn.before[place:] == shown else None
