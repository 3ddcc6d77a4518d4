"""Puts together what the events of one activity say: scheduled, started, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

from temporalio.api.history.v1 import HistoryEvent

from replay.events import attributes, details_of, failure_line, first_value, kind, seconds, value_of
from replay.turns import StepAttempt, StepState, TurnStep, parsed

__all__ = ["ActivityReader", "OpenActivity"]

_OF_TURN = re.compile(r"^turn (\d+) ")
_STEP_OF: dict[str, str] = {"quote_passages": "generate_answer"}
_ENDS: dict[str, StepState] = {
    "ACTIVITY_TASK_COMPLETED": "completed",
    "ACTIVITY_TASK_FAILED": "failed",
    "ACTIVITY_TASK_TIMED_OUT": "timed out",
    "ACTIVITY_TASK_CANCELED": "cancelled",
    "ACTIVITY_TASK_CANCEL_REQUESTED": "cancelled",  # the workflow does not wait until its worker hears of it
}


@dataclass
class OpenActivity:
    """An activity while its events come in. ``turn`` is None for what belongs to none (``recall_conversation``)."""

    activity: str
    turn: int | None
    step: TurnStep


class ActivityReader:
    """All activities of a run, by the event that scheduled them. ``run``: the run's place in its chain."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._by_event: dict[int, OpenActivity] = {}

    def take(self, event: HistoryEvent) -> OpenActivity:
        """The activity that the event is about; one whose beginning is missing stands for itself."""
        name, inside = kind(event), attributes(event)
        if name == "ACTIVITY_TASK_SCHEDULED":
            opened = self._by_event[event.event_id] = self._scheduled(event, inside)
            return opened
        opened = self._by_event.get(inside.scheduled_event_id)
        if opened is None:
            at = seconds(event.event_time)
            return OpenActivity("", None, TurnStep(step="", activity="", event=event.event_id, scheduled=at))
        if name == "ACTIVITY_TASK_STARTED":
            opened.step = _started(opened.step, event, inside)
        elif name in _ENDS:
            opened.step = _ended(opened.step, event, inside, _ENDS[name])
        return opened

    def steps(self, turn: int) -> tuple[TurnStep, ...]:
        """The steps of a turn in the order in which they were scheduled; what stands beside them is not among them."""
        return tuple(
            each.step for each in self._by_event.values() if each.turn == turn and each.activity != "keep_feedback"
        )

    def message_id(self, turn: int) -> str:
        """As the turn's steps name it; histories of early versions name it in the last one alone."""
        named = (step.input.get("message_id") for step in self.steps(turn) if isinstance(step.input, dict))
        return next((str(each) for each in named if each), "")

    def _scheduled(self, event: HistoryEvent, inside: Any) -> OpenActivity:
        activity: str = inside.activity_type.name
        given = value_of(inside.input.payloads[-1]) if inside.input.payloads else None
        arguments = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        summary = str(value_of(event.user_metadata.summary) or "")
        step = TurnStep(
            step=_STEP_OF.get(activity, activity),
            activity=activity,
            try_number=_try_number(arguments, summary),
            summary=summary,
            event=event.event_id,
            run=self._run,
            task_queue=inside.task_queue.name,
            scheduled=seconds(event.event_time),
            input=given,
        )
        return OpenActivity(activity, _turn(activity, arguments, summary), step)


def _turn(activity: str, arguments: dict[str, Any], summary: str) -> int | None:
    if activity == "recall_conversation":
        return None
    named = arguments.get("turn")
    if isinstance(named, dict):
        named = cast("dict[str, Any]", named).get("turn")
    if isinstance(named, int):
        return named
    said = _OF_TURN.match(summary)
    return int(said[1]) if said else None


def _try_number(arguments: dict[str, Any], summary: str) -> int:
    given = arguments.get("try_number")
    if isinstance(given, int):
        return given
    said = re.search(r" · try (\d+)", summary)
    return int(said[1]) if said else 1


def _started(step: TurnStep, event: HistoryEvent, inside: Any) -> TurnStep:
    before = ()
    if inside.HasField("last_failure"):
        before = (StepAttempt(number=max(1, inside.attempt - 1), failure=failure_line(inside.last_failure)),)
    return step.model_copy(
        update={
            "state": "running",
            "started": seconds(event.event_time),
            "attempt": inside.attempt,
            "worker": inside.identity,
            "attempts": before,
        }
    )


def _ended(step: TurnStep, event: HistoryEvent, inside: Any, state: StepState) -> TurnStep:
    ended = {"state": state, "ended": seconds(event.event_time)}
    if state == "completed":
        result = first_value(inside.result)
        return step.model_copy(update={**ended, "result": result, **_told(result)})
    if state in ("failed", "timed out"):
        failed = step.model_copy(update={**ended, "failure": failure_line(inside.failure)})
        return failed.model_copy(update=_told_by_failure(failed, _told(details_of(inside.failure)).get("attempts", ())))
    return step.model_copy(update=ended)


def _told_by_failure(step: TurnStep, attempts: tuple[StepAttempt, ...]) -> dict[str, Any]:
    """The attempts as the failure or the last heartbeat tells them, the last one ended as the step was; nothing where
    they tell none. Of a step that timed out between two attempts the history has no start: then the last one's."""
    if not attempts:
        return {}
    number = step.attempt or attempts[-1].number
    by_number = {each.number: each for each in attempts}
    last = by_number.get(number) or StepAttempt(number=number, worker=step.worker, started=step.started)
    if not last.failure:
        last = last.model_copy(update={"ended": step.ended, "failure": step.failure})
    before = [_lost(each) for each in attempts if each.number < number]
    worker, started = last.worker or step.worker, step.started or last.started
    return {"attempt": number, "worker": worker, "started": started, "attempts": (*before, last)}


def _lost(attempt: StepAttempt) -> StepAttempt:
    """Of an attempt that no later one told of; worded as :func:`activities.heartbeats.attempts_before` does."""
    if attempt.failure:
        return attempt
    return attempt.model_copy(update={"failure": f"lost: no heartbeat after {attempt.tokens} tokens"})


def _told(result: Any) -> dict[str, Any]:
    """The attempts and the worker as the result itself tells them: the history keeps the last ones alone."""
    if not isinstance(result, dict):
        return {}
    told = cast("dict[str, Any]", result)
    found: dict[str, Any] = {}
    done = told.get("done")
    if isinstance(done, dict) and cast("dict[str, Any]", done).get("worker"):
        found["worker"] = str(cast("dict[str, Any]", done)["worker"])
    attempts = told.get("attempts")
    if isinstance(attempts, list) and attempts:
        read = [parsed(each, StepAttempt) for each in cast("list[Any]", attempts)]
        found["attempts"] = tuple(each for each in read if each is not None)
    return found
