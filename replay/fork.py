"""Sets a conversation back to before a turn: Temporal's reset, told to the workflow and recorded with who and why.

The turns that are left behind stay in the audit, and their numbers are not given again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import HistoryForeign, InvalidRequest, NoSuchTurn
from dialogue.messages import Forked
from replay.chain import Chain, RecordedRun
from replay.events import kind
from replay.forked import fork_reason
from replay.histories import live
from replay.story import tell, turn_of
from replay.turns import Story, Turn
from workflows.names import CONVERSATION_WORKFLOW, FORKED

__all__ = ["Fork", "fork", "plan_fork"]


@dataclass(frozen=True)
class Fork:
    """What a fork would do. ``event``: the workflow task that is undone with all behind it; ``left`` the numbers of the
    turns that are left behind."""

    conversation: str
    run_id: str
    tenant: str
    before: int
    event: int
    total: int
    left: tuple[int, ...]


def plan_fork(chain: Chain, before: int) -> Fork:
    """Raises NoSuchTurn, HistoryForeign for a dialogue, and InvalidRequest where the turn before was under way when the
    message came, so that no place lies between the two. Of a chain that was not read whole it raises why: a turn that
    is not seen would be left behind untold, and its number given again."""
    for fault in (*chain.unopened.values(), *chain.unasked):
        raise fault
    story = tell(chain)
    turn = turn_of(story, before)
    run = chain.runs[turn.run - 1]
    if run.workflow_type != CONVERSATION_WORKFLOW:
        raise HistoryForeign(f"conversation: {chain.workflow_id} is one question and its answer; ask it again instead.")
    event = _task_before(run, turn)
    _refuse_unless_between(story, turn, event)
    left = tuple(each.turn for each in story.turns if each.turn >= before)
    return Fork(chain.workflow_id, run.run_id, story.tenant, before, event, _numbered(chain), left)


def _task_before(run: RecordedRun, turn: Turn) -> int:
    """The workflow task in which the turn's message was accepted: it is undone."""
    accepted = turn.events[0]
    tasks = [event.event_id for event in run.events if kind(event) == "WORKFLOW_TASK_COMPLETED"]
    found = [task for task in tasks if task < accepted]
    if not found:
        raise NoSuchTurn(f"turn: the beginning of turn {turn.turn} is not in this history.", field="turn")
    return found[-1]


def _refuse_unless_between(story: Story, turn: Turn, event: int) -> None:
    for earlier in story.turns:
        if earlier.run == turn.run and earlier.turn < turn.turn and any(each >= event for each in _own_events(earlier)):
            raise InvalidRequest(
                f"turn: turn {earlier.turn} was under way when the message of turn {turn.turn} came. Fork before turn "
                f"{earlier.turn}.",
                field="turn",
            )


def _own_events(turn: Turn) -> list[int]:
    """Where its last step was scheduled, or all there is of an unfinished one."""
    last = turn.last("return_answer")
    return [last.event] if last is not None and last.state == "completed" else list(turn.events)


async def fork(client: Client, plan: Fork, *, by: str, why: str) -> tuple[str, int]:
    """The id of the new run, and the number that its next turn gets. ``by`` stands in its history, in the reset's own
    event, which is never sealed, and ``why`` in the message to the workflow. Raises ValidationError for an empty one,
    and RPCError."""
    told = Forked(tenant=plan.tenant, before=plan.before, total=plan.total, by=by, why=why)
    # The reset hands on the messages that came behind its place in the run that is set back, and in what it continued
    # as: so what is told before it is known from its first moment on, whoever speaks next. Turns are left out: they are
    # updates.
    await _tell(client, plan.conversation, told)
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=plan.conversation, run_id=plan.run_id),
        reason=fork_reason(told),
        workflow_task_finish_event_id=plan.event,
        request_id=str(uuid.uuid4()),
        reset_reapply_exclude_types=[ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE],
        identity=by,
    )
    run_id = (await client.workflow_service.reset_workflow_execution(request)).run_id
    # It may have been told to another run: the turn stood in one that an earlier fork left, or that was closed since.
    await _tell(client, plan.conversation, told)
    total = max(plan.total, _numbered(await live(client, plan.conversation)))
    if total > plan.total:  # somebody spoke in the moment between
        await _tell(client, plan.conversation, told.model_copy(update={"total": total}))
    return run_id, total + 1


def _numbered(chain: Chain) -> int:
    """The highest number that a turn has."""
    return max((turn.turn for turn in tell(chain).turns), default=0)


async def _tell(client: Client, conversation: str, told: Forked) -> None:
    """If it runs, and so can be told."""
    try:
        await client.get_workflow_handle(conversation).signal(FORKED, told)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
