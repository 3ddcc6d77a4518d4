"""Reads one run's events once, from the first to the last, and gives its turns.

An event belongs to the turn that its activity's input names; where it has none, to the one in its summary
(``turn 2 · …``); an update to the turn whose message id it brought. So events group as they were recorded, whoever
made them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel
from temporalio.api.history.v1 import HistoryEvent

from dialogue.messages import CancelTurn, ConversationStart, DialogueStart, ResolveReview
from dialogue.messages import Feedback as GivenFeedback
from dialogue.plan import TurnPlan
from dialogue.steps import (
    GeneratedAnswer,
    RecallConversation,
    ReceivedInput,
    RecognisedIntent,
    RetrievedKnowledge,
    ReturnAnswer,
    ReturnedAnswer,
    ReviewedAnswer,
)
from dialogue.turn import Recalled, Reply
from replay.activities import ActivityReader
from replay.cancels import Cancel
from replay.chain import RecordedRun
from replay.events import attributes, first_value, is_consistent, kind, seconds, value_of
from replay.outcome import findings_of, outcome_of, told_by_reply
from replay.run_memory import RunMemory
from replay.turns import Feedback, HumanReview, Turn, TurnState, TurnStep, parsed
from replay.values import Values, whole_number
from workflows.names import CANCEL_TURN, DIALOGUE_WORKFLOW, RESOLVE_REVIEW, SAY

__all__ = ["RunReader"]

_OF_TURN = re.compile(r"^turn (\d+) · (.*)$")
_WAITS = "waits for a person"
_RESULTS: dict[str, type[BaseModel]] = {
    "receive_input": ReceivedInput,
    "recognise_intent": RecognisedIntent,
    "retrieve_knowledge": RetrievedKnowledge,
    "generate_answer": GeneratedAnswer,
    "quote_passages": GeneratedAnswer,
    "review_answer": ReviewedAnswer,
}


@dataclass
class _Message:
    """A message as it was accepted."""

    id: str
    value: dict[str, Any]
    at: float
    event: int
    refused: bool = False


@dataclass
class _Open:
    """A turn while its events come in."""

    number: int
    message: _Message | None = None
    human: HumanReview | None = None
    cancelled: str = ""
    reply: Reply | None = None
    feedback: list[Feedback] = field(default_factory=list[Feedback])
    events: list[int] = field(default_factory=list[int])


class RunReader:
    """``number`` is the run's place in its chain; ``ended`` how it ended, empty while it runs; ``earlier`` the turns of
    the runs before. ``values`` has, once it was read, the problems of what could not be."""

    def __init__(self, run: RecordedRun, number: int, *, ended: str, earlier: Collection[Turn] = ()) -> None:
        self._run, self._number, self._ended, self._earlier = run, number, ended, earlier
        self._activities = ActivityReader(number)
        self._messages: dict[str, _Message] = {}
        self._turns: dict[int, _Open] = {}
        self._updates: dict[int, tuple[str, dict[str, Any]]] = {}
        self._cancels: dict[int, Cancel] = {}
        self._timers: dict[int, int] = {}
        self._accepted_before = 0
        self._answered_before: set[str] = set()
        self._memory = RunMemory()
        self.values = Values(run.source)
        self.tenant = ""

    def read(self) -> list[Turn]:
        for event in self._run.events:
            name = kind(event).lower()
            if not is_consistent(event):
                continue
            if name.startswith("activity_task_"):
                self._take_activity(event)
            elif (take := getattr(self, f"_{name}", None)) is not None:
                take(event, attributes(event))
        return self._made()

    # events ---------------------------------------------------------------------------------------

    def _take_activity(self, event: HistoryEvent) -> None:
        opened = self._activities.take(event)
        number = opened.turn
        if number is not None:
            self._turn(number).events.append(event.event_id)
        if opened.activity == "recall_conversation":
            self._recall(opened.step)
        if opened.activity == "keep_feedback" and kind(event) == "ACTIVITY_TASK_SCHEDULED":
            given: Any = value_of(attributes(event).input.payloads[-1])
            self.values.read(given, GivenFeedback, event.event_id, "the feedback")
            if isinstance(given, dict) and number is not None:
                told = cast("dict[str, Any]", given)
                self._turn(number).feedback.append(
                    Feedback(
                        at=seconds(event.event_time),
                        user=str(told.get("user", "")),
                        score=whole_number(told.get("score")) or 0,
                        comment=str(told.get("comment", "")),
                    )
                )

    def _recall(self, step: TurnStep) -> None:
        """What the run asked as it opened is what it goes on from; for one turn's reply it may ask at any time."""
        asked, recalled = parsed(step.input, RecallConversation), parsed(step.result, Recalled)
        if asked is not None and asked.turn is None and recalled is not None:
            self._accepted_before = recalled.total
            self._memory.recall(recalled)

    def _workflow_execution_started(self, event: HistoryEvent, inside: Any) -> None:
        given = first_value(inside.input)
        at = seconds(event.event_time)
        if inside.workflow_type.name == DIALOGUE_WORKFLOW:
            start = parsed(given, DialogueStart)  # one that was refused is none
            if start is not None:
                self.tenant = start.tenant
                self._memory.give(start.messages[:-1])
                text = start.question if start.question is not None else start.messages[-1].content
                value = {"text": text, "user": start.user, "tenant": start.tenant}
                name = start.message_id or "question"
                self._messages[name] = _Message(name, value, at, event.event_id)
            return
        start = parsed(given, ConversationStart)
        if start is not None:
            self.tenant = start.tenant
            total = (start.carried or {}).get("total", 0)
            if whole_number(total) is None:
                self.values.refuse(event.event_id, "its start", "carried.total: it is no whole number")
            self._accepted_before = whole_number(total) or 0
            if start.carried is not None:
                self._memory.carry(start.carried)
            elif not start.fresh:
                self._open_again()

    def _open_again(self) -> None:
        """What the runs before held, the workflow asks the audit: a message may be accepted before it is answered. A
        turn that was lost has no row there, so its number is given again."""
        done = [turn for turn in self._earlier if turn.state == "done"]
        self._accepted_before = max((turn.turn for turn in done), default=0)
        self._answered_before = {turn.message_id for turn in done}

    def _workflow_execution_update_accepted(self, event: HistoryEvent, inside: Any) -> None:
        request = inside.accepted_request
        given = first_value(request.input.args)
        value = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        self._updates[event.event_id] = (request.input.name, value)
        if request.input.name == SAY:
            name = str(value.get("message_id") or inside.protocol_instance_id)
            self._messages.setdefault(name, _Message(name, value, seconds(event.event_time), event.event_id))
        elif request.input.name == RESOLVE_REVIEW:
            self.values.read(given, ResolveReview, event.event_id, RESOLVE_REVIEW)
            if (number := whole_number(value.get("turn"))) is not None:
                self._resolve(number, value, event)
        elif request.input.name == CANCEL_TURN:
            self.values.read(given, CancelTurn, event.event_id, CANCEL_TURN)
            self._cancels[event.event_id] = Cancel(event.event_id, value, max(self._turns, default=None))

    def _resolve(self, number: int, value: dict[str, Any], event: HistoryEvent) -> None:
        turn = self._turn(number)
        turn.events.append(event.event_id)
        asked = turn.human or HumanReview(asked=seconds(event.event_time))
        decided: dict[str, Any] = {name: str(value.get(name) or "") for name in ("by", "decision", "note")}
        answer = value.get("answer")
        decided |= {"decided": seconds(event.event_time), "answer": None if answer is None else str(answer)}
        turn.human = asked.model_copy(update=decided)

    def _workflow_execution_update_completed(self, event: HistoryEvent, inside: Any) -> None:
        name, value = self._updates.get(inside.accepted_event_id, ("", {}))
        if name == SAY and inside.outcome.HasField("failure"):
            message = self._messages.get(str(value.get("message_id") or inside.meta.update_id))
            if message is not None:
                message.refused = True
        if (cancel := self._cancels.get(inside.accepted_event_id)) is not None:
            cancel.complete(inside.outcome)
        self._reply(first_value(inside.outcome.success), event)

    def _workflow_execution_completed(self, event: HistoryEvent, inside: Any) -> None:
        self._reply(first_value(inside.result), event)

    def _reply(self, value: Any, event: HistoryEvent) -> None:
        reply = parsed(value, Reply)
        if reply is None:
            return
        turn = self._turn(reply.turn)
        turn.events.append(event.event_id)
        if turn.reply is None or turn.reply.state != "done":
            turn.reply = reply

    def _timer_started(self, event: HistoryEvent, inside: Any) -> None:
        named = _OF_TURN.match(str(value_of(event.user_metadata.summary) or ""))
        if named is None or named[2] != _WAITS:
            return
        number = int(named[1])
        self._timers[event.event_id] = number
        self._turn(number).human = HumanReview(asked=seconds(event.event_time))
        self._turn(number).events.append(event.event_id)

    def _timer_fired(self, event: HistoryEvent, inside: Any) -> None:
        number = self._timers.get(inside.started_event_id)
        turn = self._turn(number) if number is not None else None
        if turn is not None and turn.human is not None:
            turn.human = turn.human.model_copy(update={"timed_out": True, "decided": seconds(event.event_time)})
            turn.events.append(event.event_id)

    def _timer_canceled(self, event: HistoryEvent, inside: Any) -> None:
        if inside.started_event_id in self._timers:
            self._turn(self._timers[inside.started_event_id]).events.append(event.event_id)

    # turns ----------------------------------------------------------------------------------------

    def _turn(self, number: int) -> _Open:
        return self._turns.setdefault(number, _Open(number))

    def _made(self) -> list[Turn]:
        self._match_messages()
        self._match_cancels()
        return list(self._memory.told(self._make(self._turns[number]) for number in sorted(self._turns)))

    def _match_messages(self) -> None:
        """Each turn its message: by the id that its steps name, and what is left in the order of arrival."""
        left = {name: message for name, message in self._messages.items() if not message.refused}
        for number, turn in self._turns.items():
            named = self._activities.message_id(number) or (turn.reply.message_id if turn.reply else "")
            turn.message = left.pop(named, None)
        without = [turn for _, turn in sorted(self._turns.items()) if turn.message is None and self._steps(turn.number)]
        for turn, name in zip(without, list(left), strict=False):
            turn.message = left.pop(name)
        answered_before = self._answered_before | {
            name
            for event, (kind_, value) in self._updates.items()
            if kind_ == SAY and (name := str(value.get("message_id", ""))) in left and self._is_repetition(event)
        }
        number = max([self._accepted_before, *self._turns], default=0)
        for name, message in left.items():
            if name not in answered_before:
                number += 1
                self._turn(number).message = message

    def _match_cancels(self) -> None:
        """Of two that were accepted the first one's reason counts, as it does to the workflow."""
        saying = {turn.message.id: turn.number for turn in self._turns.values() if turn.message is not None}
        for cancel in self._cancels.values():
            turn = self._turns.get(cancel.turn(saying) or 0)
            if turn is None:
                continue
            turn.events.append(cancel.event)
            if not cancel.refused:
                turn.cancelled = turn.cancelled or cancel.why

    def _is_repetition(self, accepted: int) -> bool:
        """Whether the update was answered with a turn that is older than this run's."""
        for event in self._run.events:
            inside = attributes(event)
            if kind(event) == "WORKFLOW_EXECUTION_UPDATE_COMPLETED" and inside.accepted_event_id == accepted:
                return True
        return False

    def _steps(self, number: int) -> tuple[TurnStep, ...]:
        return self._activities.steps(number)

    def _make(self, turn: _Open) -> Turn:
        steps, message, reply = self._steps(turn.number), turn.message, turn.reply
        returning = next((step for step in reversed(steps) if step.activity == "return_answer"), None)
        given = returned = None
        if returning is not None:
            what = "{} of return_answer"
            given = self.values.read(returning.input, ReturnAnswer, returning.event, what.format("the input"))
            returned = self.values.read(returning.result, ReturnedAnswer, returning.event, what.format("the result"))
        for step in steps:
            if (of := _RESULTS.get(step.activity)) is not None:
                self.values.read(step.result, of, step.event, f"the result of {step.activity}")
                if step.state == "completed" and step.result is None:
                    self.values.refuse(step.event, f"the result of {step.activity}", "it is empty")
        events = sorted({*turn.events, *([message.event] if message else [])})
        first = next((step.result for step in steps if step.activity == "receive_input" and step.result), None)
        received = cast("dict[str, Any]", first) if isinstance(first, dict) else {}
        at = message.at if message else steps[0].scheduled if steps else self._run.started_at
        made = {
            "conversation": self._run.workflow_id,
            "turn": turn.number,
            "tenant": self.tenant,
            "run": self._number,
            "run_id": self._run.run_id,
            "message_id": message.id if message else "",
            "user": str(message.value.get("user", "")) if message else "",
            "said": str(message.value.get("text", "")) if message else "",
            "question": str(received.get("text", "")),
            "language": str(received.get("language", "")),
            "findings": findings_of(received),
            "received": at,
            "steps": steps,
            "human": turn.human,
            "cancelled": turn.cancelled,
            "feedback": turn.feedback,
            "events": events,
            "problems": [bad.fault.message for bad in self.values.bad if bad.event in events],
            "state": self._state(turn, steps, returned is not None),
            "plan": parsed(received.get("plan"), TurnPlan),
            **outcome_of(given, returned),
        }
        if reply is not None:
            unreturned = returning is not None and returning.state in ("failed", "timed out")
            made |= told_by_reply(reply, done=given is not None and not unreturned)
        return Turn.model_validate(made)

    def _state(self, turn: _Open, steps: tuple[TurnStep, ...], returned: bool) -> TurnState:
        if returned or (turn.reply is not None and turn.reply.state == "done"):
            return "done"
        if self._ended:
            return "lost"
        if turn.human is not None and turn.human.decided is None:
            return "waiting"
        return "running" if steps else "queued"
