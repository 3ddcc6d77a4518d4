"""Recorded values read as their types. One that cannot be, because it was edited or another version wrote it, is named
and costs no other."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from dialogue.faults import HistoryBroken
from replay.events import UNREADABLE

__all__ = ["BadValue", "Values", "whole_number"]

Model = TypeVar("Model", bound=BaseModel)


class BadValue(NamedTuple):
    """``event``: where it stands; of a step's result, where the step was scheduled."""

    event: int
    fault: HistoryBroken


class Values:
    """Of one run. ``bad``: the values that could not be read, as they were come to."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.bad: list[BadValue] = []

    def read(self, value: Any, kind: type[Model], event: int, what: str) -> Model | None:
        """``None`` where it cannot be read. ``what`` names it: ``the result of review_answer``."""
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            if value not in (None, UNREADABLE):  # what could not be decoded is told where that was tried
                first = error.errors(include_url=False, include_input=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                self.refuse(event, what, f"{place}: {first['msg']}" if place else first["msg"])
            return None

    def refuse(self, event: int, what: str, why: str) -> None:
        fault = HistoryBroken(
            f"{self._source}: event {event}: {what} cannot be read ({why}): it was edited, or another version wrote "
            "it. Take the history from the server again, or look with the version that wrote it."
        )
        self.bad.append(BadValue(event, fault))


def whole_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
