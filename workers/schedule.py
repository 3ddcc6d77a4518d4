"""The Temporal Schedule that keeps the records: made by whichever worker starts first, the same for all."""

from __future__ import annotations

from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from workflows.names import KEEP_RECORDS_SCHEDULE, KEEP_RECORDS_WORKFLOW

__all__ = ["ensure_schedule", "keep_schedule"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("workers")


async def keep_schedule(client: Client, task_queue: str, minutes: float) -> None:
    """:func:`ensure_schedule`, said in the log: a server that refuses it costs no worker its start."""
    try:
        made = await ensure_schedule(client, task_queue, minutes)
    except RPCError as error:
        log.warning(
            "records not kept: the schedule cannot be made", schedule=KEEP_RECORDS_SCHEDULE, reason=error.message
        )
    else:
        log.info("records are kept", schedule=KEEP_RECORDS_SCHEDULE, every_minutes=minutes, made=made)


async def ensure_schedule(client: Client, task_queue: str, minutes: float) -> bool:
    """Makes the schedule, which begins at once, or brings the one that is there up to date; an operator's pause stays.
    Gives whether it was made. Raises RPCError."""
    wanted = _schedule(task_queue, minutes)
    try:
        await client.create_schedule(KEEP_RECORDS_SCHEDULE, wanted, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(KEEP_RECORDS_SCHEDULE).update(lambda found: _changed(found, wanted))
        return False
    return True


def _schedule(task_queue: str, minutes: float) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            KEEP_RECORDS_WORKFLOW,
            id=KEEP_RECORDS_SCHEDULE,
            task_queue=task_queue,
            static_summary="archives closed runs, removes what is older than records.retention",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(minutes=minutes))]),
        # One that was missed while no server ran is made up for by the next; two at once would do the same work.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=minutes)),
    )


def _changed(found: ScheduleUpdateInput, wanted: Schedule) -> ScheduleUpdate | None:
    """``None`` where it is as wanted: then nothing is written."""
    there = found.description.schedule
    action = there.action
    same = (
        isinstance(action, ScheduleActionStartWorkflow)
        and isinstance(wanted.action, ScheduleActionStartWorkflow)
        and (action.workflow, action.task_queue) == (wanted.action.workflow, wanted.action.task_queue)
        and [each.every for each in there.spec.intervals] == [each.every for each in wanted.spec.intervals]
    )
    if same:
        return None
    wanted.state = there.state
    return ScheduleUpdate(schedule=wanted)
