"""When a run of a conversation is over and the next begins, and what one takes over from the other."""

from __future__ import annotations

from typing import NoReturn

from temporalio import workflow
from temporalio.workflow import ContinueAsNewVersioningBehavior

from dialogue.faults import InvalidRequest
from dialogue.messages import ConversationStart
from dialogue.turn import Carried
from workflows.inputs import application_error
from workflows.memory import Memory

__all__ = ["carried", "due", "full", "go_on"]

FULL_BYTES, FULL_EVENTS = 20_000_000, 20_000
"""Of a run's history. The server suggests to continue as new at a fifth of it, and terminates at 50 MB and 50,000."""


def carried(start: ConversationStart) -> Carried | None:
    """What the run before took along. Raises an ApplicationError where a caller says so, who cannot know it."""
    if start.carried is None:
        return None
    if workflow.info().continued_run_id is None:
        raise application_error(InvalidRequest("carried: is set by continue-as-new alone. Leave it out."))
    return Carried.model_validate(start.carried)


def due(start: ConversationStart, turns: int) -> bool:
    """Whether the run may end after so many turns, if nothing waits."""
    enough = start.turns_per_run is not None and turns >= start.turns_per_run
    info = workflow.info()
    # A turn a run, so that an operator who holds it on its version does not make it start over and over.
    newer = turns > 0 and info.is_target_worker_deployment_version_changed()
    return enough or newer or info.is_continue_as_new_suggested()


def full() -> bool:
    """It continues as new between two messages; so where there is always another one, somebody has to wait."""
    info = workflow.info()
    return info.get_current_history_size() > FULL_BYTES or info.get_current_history_length() > FULL_EVENTS


def go_on(start: ConversationStart, memory: Memory) -> NoReturn:
    """As the next run, of the version that is current by then where workers have versions."""
    taken = memory.carry().model_dump(mode="json")
    workflow.continue_as_new(
        start.model_copy(update={"carried": taken, "fresh": False}),
        initial_versioning_behavior=ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
    )
