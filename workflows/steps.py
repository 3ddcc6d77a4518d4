"""How each step is scheduled: its timeouts, queue and summary from the plan, its line in the turn's table."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeout

from dialogue.plan import WHOLE_ANSWER, RetryPlan, StepName, StepPlan, TurnPlan
from dialogue.steps import (
    GeneratedAnswer,
    ReceivedInput,
    ReceiveInput,
    RecognisedIntent,
    RecogniseIntent,
    RetrievedKnowledge,
    RetrieveKnowledge,
    ReturnAnswer,
    ReturnedAnswer,
    ReviewAnswer,
    ReviewedAnswer,
    StepResult,
)
from dialogue.turn import StepRecord
from workflows.progress import Decision, TurnInProgress
from workflows.wording import (
    describe_input,
    describe_intent,
    describe_knowledge,
    describe_returned,
    describe_review,
)

__all__ = [
    "fault_type",
    "receive_input",
    "recognise_intent",
    "retrieve_knowledge",
    "return_answer",
    "review_answer",
    "schedule",
    "wait_for_a_person",
    "why_failed",
]

Result = TypeVar("Result", bound=StepResult)

# Before the plan is known, and where a plan names no step: generous, because whoever asked waits.
FIRST_STEP = StepPlan(start_to_close=10, schedule_to_close=120, heartbeat=2, retry=RetryPlan(maximum_interval=5))
_LONGEST_FAIRNESS_KEY = 64
"""Bytes, of which a tenant's name has one a character; the server refuses a longer one."""
_LONGEST_FAULT = 60
"""Characters: our own types are shorter, another's name may be any."""
LAST_STEP = StepPlan(start_to_close=15, heartbeat=2, retry=RetryPlan(maximum_interval=15))


async def schedule(
    turn: TurnInProgress,
    step: StepName,
    argument: object,
    result_type: type[Result],
    *,
    activity: str | None = None,
    task_queue: str | None = None,
    default: StepPlan = FIRST_STEP,
    note: str = "",
) -> Result:
    """Runs one activity as the plan says. Its summary reads ``turn 2 · generate_answer · try 2 of 4: …``."""
    plan = (turn.plan.steps.get(step) if turn.plan else None) or default
    name = activity or step
    try:
        result = await workflow.execute_activity(
            name,
            argument,
            result_type=result_type,
            task_queue=task_queue or plan.task_queue,
            start_to_close_timeout=timedelta(seconds=plan.start_to_close),
            schedule_to_close_timeout=_seconds(plan.schedule_to_close),
            heartbeat_timeout=_seconds(plan.heartbeat),
            retry_policy=_policy(plan.retry),
            summary=" · ".join(filter(None, (f"turn {turn.key.turn}", name, note))),
            priority=_priority(turn.plan),
        )
    except ActivityError as error:
        turn.fault = fault_type(error) or turn.fault
        raise
    if turn.cancelled and not turn.returning:  # it ended at the very moment it was cancelled
        raise asyncio.CancelledError
    return result


def _priority(plan: TurnPlan | None) -> Priority:
    """Of its tenant, among whom a server that knows fairness shares a queue out; the server's own without a plan."""
    if plan is None or plan.priority is None:
        return Priority.default
    return Priority(priority_key=plan.priority, fairness_key=plan.tenant[:_LONGEST_FAIRNESS_KEY])


def _seconds(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)


def _policy(retry: RetryPlan) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=retry.initial_interval),
        backoff_coefficient=retry.backoff_coefficient,
        maximum_interval=timedelta(seconds=retry.maximum_interval),
        maximum_attempts=retry.maximum_attempts,
    )


def _record(turn: TurnInProgress, step: StepName, result: StepResult, text: str) -> None:
    done = result.done
    turn.steps.append(
        StepRecord(
            step=step,
            pool=done.pool or None,
            attempt=done.attempt,
            milliseconds=done.milliseconds,
            result=text,
        )
    )


def fault_type(error: ActivityError) -> str | None:
    """As it is searched for; ``None`` for a step that was cancelled."""
    if isinstance(error.cause, ApplicationError):
        return (error.cause.type or "unexpected")[:_LONGEST_FAULT]
    return "timed-out" if isinstance(error.cause, TemporalTimeout) else None


def why_failed(error: ActivityError) -> str:
    """One line: which step failed and why, without a stack."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return f"{error.activity_type}: {cause.type}: {cause.message}"
    if isinstance(cause, TemporalTimeout):
        return f"{error.activity_type}: no answer in time ({cause.type.name.lower() if cause.type else 'timeout'})"
    return f"{error.activity_type}: {cause or error}"


async def receive_input(turn: TurnInProgress) -> None:
    said = turn.say
    argument = ReceiveInput(
        turn=turn.key,
        message_id=said.message_id,
        text=said.text,
        files=said.files,
        user=said.user,
        temperature=said.temperature,
        seed=said.seed,
        max_new_tokens=said.max_new_tokens,
        model=said.model,
        caller=said.caller,
        said_at=(turn.said_at or turn.received_at).timestamp(),
    )
    received = await schedule(turn, "receive_input", argument, ReceivedInput)
    turn.received = received
    _record(turn, "receive_input", received, describe_input(received))
    if received.decision == "refuse":
        turn.decision = Decision("refused", received.refusal, "refused by policy")


async def recognise_intent(turn: TurnInProgress) -> None:
    if turn.decision is not None:
        return turn.skip("recognise_intent", turn.decision.note)
    argument = RecogniseIntent(turn=turn.key, text=turn.question, language=turn.language)
    recognised = await schedule(turn, "recognise_intent", argument, RecognisedIntent)
    turn.recognised = recognised
    _record(turn, "recognise_intent", recognised, describe_intent(recognised))
    what = f"the intent is {recognised.intent}" if recognised.intent else "out of scope"
    if recognised.route == "template":
        turn.decision = Decision("template", recognised.reply, what)
    elif recognised.route == "refuse":
        turn.decision = Decision("refused", recognised.reply, what)
    elif recognised.route == "human":
        turn.decision = Decision("human", None, what)
    return None


async def retrieve_knowledge(turn: TurnInProgress) -> None:
    if turn.decision is not None:
        return turn.skip("retrieve_knowledge", turn.decision.note)
    recognised = turn.recognised
    if recognised is not None and recognised.route == "generate":
        return turn.skip("retrieve_knowledge", f"the intent {recognised.intent} needs none")
    argument = RetrieveKnowledge(
        turn=turn.key,
        text=turn.question,
        language=turn.language,
        intent=recognised.intent if recognised else None,
    )
    turn.knowledge = await schedule(turn, "retrieve_knowledge", argument, RetrievedKnowledge)
    _record(turn, "retrieve_knowledge", turn.knowledge, describe_knowledge(turn.knowledge))
    return None


async def review_answer(turn: TurnInProgress, draft: GeneratedAnswer, try_number: int) -> ReviewedAnswer:
    plan = turn.plan
    if plan is None:
        raise ApplicationError("a review needs the turn's plan", non_retryable=True)
    passages = {passage.id: passage for passage in turn.knowledge.passages} if turn.knowledge else {}
    argument = ReviewAnswer(
        turn=turn.key,
        question=turn.question,
        files=turn.files,
        language=turn.language,
        answer=draft.answer,
        reasoning=draft.reasoning,
        finish_reason=draft.finish_reason,
        passages=tuple(passages[id_] for id_ in draft.shown if id_ in passages),
        retrieved=turn.knowledge is not None,
        quoted=draft.quoted,
        policy=plan.policy,
        policy_digest=plan.policy_digest,
        candidates=draft.candidates if len(draft.candidates) > 1 else (),
    )
    reviewed = await schedule(turn, "review_answer", argument, ReviewedAnswer, note=_try_note(try_number))
    _record(turn, "review_answer", reviewed, describe_review(reviewed))
    return reviewed


def _try_note(try_number: int) -> str:
    return f"try {try_number}" if try_number > 1 else ""


async def wait_for_a_person(turn: TurnInProgress) -> None:
    """Parks a turn whose verdict is ``human`` until a person resolves it, or its time is up."""
    decision = turn.decision
    if decision is None or decision.verdict != "human" or turn.plan is None:
        return
    turn.state = "waiting"
    try:
        await workflow.wait_condition(
            lambda: turn.resolution is not None,
            timeout=turn.plan.review.human_timeout,
            timeout_summary=f"turn {turn.key.turn} · waits for a person",
        )
    except TimeoutError:
        turn.decision = Decision("human", turn.text("fallback"), f"{decision.note}; nobody resolved it in time")
        return
    finally:
        turn.state = "running"
    resolution = turn.resolution
    if resolution is None:  # not reached: wait_condition ended without a timeout
        return
    note = f"{decision.note}; {resolution.decision} by {resolution.by}"
    answers = {
        "approve": decision.answer or turn.text("fallback"),
        "edit": resolution.answer,
        "reject": turn.text("fallback"),
    }
    turn.decision = Decision("human", answers[resolution.decision], note)


async def return_answer(turn: TurnInProgress) -> None:
    """The last step, whatever became of the turn. A turn that never got so far says so by its verdict."""
    turn.returning = True
    decision = turn.decision or Decision("failed", note="nothing was decided")
    turn.decision = decision
    draft, shown = turn.draft, turn.shows_draft(decision)
    argument = ReturnAnswer(
        turn=turn.key,
        user=turn.say.user,
        address=turn.say.address,
        message_id=turn.say.message_id,
        question=turn.question,
        masked=turn.received is not None,
        question_digest=turn.digest,
        files=turn.named_files,
        answer=decision.answer,
        template=_template(turn),
        reasoning=draft.reasoning if draft else "",
        told=turn.told_reasoning(decision),
        language=turn.language,
        verdict=decision.verdict,
        intent=turn.recognised.intent if turn.recognised else None,
        confidence=turn.recognised.confidence if turn.recognised else None,
        model=draft.model if draft else None,
        model_digest=draft.model_digest if draft else None,
        finish_reason=draft.finish_reason if draft and shown else None,
        snapshot=turn.knowledge.snapshot if turn.knowledge else None,
        policy_digest=turn.plan.policy_digest if turn.plan else None,
        record=draft.record if draft else None,
        citations=turn.reviewed.citations if turn.reviewed and shown else (),
        usage=turn.usage,
        received_at=turn.received_at.timestamp(),
        note=decision.note,
    )
    try:
        returned = await schedule(turn, "return_answer", argument, ReturnedAnswer, default=LAST_STEP)
    except ActivityError as error:
        turn.decision = Decision("failed", note=f"{decision.note}; {why_failed(error)}".lstrip("; "))
        turn.skip("return_answer", why_failed(error))
    else:
        turn.returned = returned
        _record(turn, "return_answer", returned, describe_returned(returned))
    turn.answered_at = workflow.now()


def _template(turn: TurnInProgress) -> str | None:
    """What was planned: the settings may have changed since the turn began."""
    planned = turn.plan.template if turn.plan else None
    return None if planned is None else planned.get(turn.language, WHOLE_ANSWER)
