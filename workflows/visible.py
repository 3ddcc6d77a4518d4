"""What the Web UI finds and shows of a conversation: search attributes and current details."""

from __future__ import annotations

from typing import Any, Literal

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from dialogue.messages import TurnKey
from dialogue.turn import TurnSummary
from workflows import names
from workflows.memory import Memory
from workflows.progress import TurnInProgress
from workflows.wording import current_details

__all__ = [
    "State",
    "show",
    "show_earlier",
    "show_start",
    "show_state",
    "show_unopened",
    "show_while_waiting",
    "waiting",
]

State = Literal["running", "waiting", "idle", "closed"]
STATE_SHOWN = "state-shown"
"""Since then a run tells whether it runs, waits, rests or is over, and the last fault of its steps."""
START_SHOWN = "start-shown"
"""Since then a run whose starter did not say it tells whose it is at once, and a conversation that it rests."""

_LISTS = {"Verdict": names.VERDICT, "Model": names.MODEL, "Snapshot": names.SNAPSHOT}


def show(memory: Memory, turn: TurnInProgress, state: State) -> None:
    """Brings details and search attributes up to date with ``turn``; writes an event only where one changed."""
    summary = turn.summary()
    memory.remember(summary)
    if turn.plan is not None:
        memory.page = turn.plan.page
    _show_details(memory, turn.key)
    updates: list[SearchAttributeUpdate[Any]] = []
    given = workflow.info().typed_search_attributes
    for key, value in ((names.TENANT, turn.key.tenant), (names.INTENT, summary.intent)):
        if value and given.get(key) != value:
            updates.append(key.value_set(value))
    values = {
        "Verdict": summary.verdict,
        "Model": _model(turn),
        "Snapshot": turn.knowledge.snapshot if turn.knowledge else None,
    }
    for name, value in values.items():
        if memory.see(name, value):
            updates.append(_LISTS[name].value_set(memory.seen[name]))
    _upsert([*updates, *_of_state(state, turn.fault)])


def show_earlier(memory: Memory, tenant: str) -> None:
    """The details of a run that goes on from an earlier one, before anything is said in it."""
    if memory.turns:
        last = TurnKey(conversation=workflow.info().workflow_id, turn=memory.turns[-1].turn, tenant=tenant)
        _show_details(memory, last)


def _show_details(memory: Memory, last: TurnKey) -> None:
    told = current_details(last, memory.turns, memory.page)
    # Temporal gives a run that was continued as new no summary: that one belongs to the run before.
    went_on = f"tenant `{last.tenant}` · goes on from an earlier run\n\n" if workflow.info().continued_run_id else ""
    workflow.set_current_details(went_on + told)


def show_start(tenant: str, *, resting: bool) -> None:
    """Whose a conversation is before its first turn tells it, and that it rests where nothing was said yet. No event
    where the start's own attributes and the first message say both, as the gateway's do."""
    unknown = workflow.info().typed_search_attributes.get(names.STATE) is None
    rests = resting and unknown and workflow.patched(START_SHOWN)
    _upsert([*_of_tenant(tenant), *(_of_state("idle") if rests else [])])


def show_state(state: State, tenant: str | None = None) -> None:
    """The state alone, or with ``tenant`` where the start's own attributes do not hold it."""
    _upsert([*(_of_tenant(tenant) if tenant is not None else []), *_of_state(state)])


def show_unopened() -> None:
    """That a conversation is over before it was open, where it was told that it rests."""
    if workflow.info().typed_search_attributes.get(names.STATE) is not None:
        show_state("closed")


async def show_while_waiting(memory: Memory, turn: TurnInProgress) -> None:
    """Brings them up to date as soon as ``turn`` waits for a person, and when one came. Cancel it when the turn is
    over."""
    await workflow.wait_condition(lambda: turn.state == "waiting")
    show(memory, turn, "waiting")
    await workflow.wait_condition(lambda: turn.state != "waiting")
    show_state("running")


def _of_tenant(tenant: str) -> list[SearchAttributeUpdate[Any]]:
    if workflow.info().typed_search_attributes.get(names.TENANT) == tenant or not workflow.patched(START_SHOWN):
        return []
    return [names.TENANT.value_set(tenant)]


def _of_state(state: State, fault: str | None = None) -> list[SearchAttributeUpdate[Any]]:
    if not workflow.patched(STATE_SHOWN):
        return []
    given = workflow.info().typed_search_attributes
    updates: list[SearchAttributeUpdate[Any]] = []
    if given.get(names.STATE) != state:
        updates.append(names.STATE.value_set(state))
    since = given.get(names.WAITING_SINCE)
    if state == "waiting" and since is None:
        updates.append(names.WAITING_SINCE.value_set(workflow.now()))
    elif state != "waiting" and since is not None:
        updates.append(names.WAITING_SINCE.value_unset())
    if fault and given.get(names.FAULT) != fault:
        updates.append(names.FAULT.value_set(fault))
    return updates


def _upsert(updates: list[SearchAttributeUpdate[Any]]) -> None:
    if updates:
        workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] (the SDK's own stub)


def _model(turn: TurnInProgress) -> str | None:
    draft = turn.draft
    return f"{draft.model}@{draft.model_digest[:12]}" if draft and draft.model_digest else None


def waiting(turns: list[TurnSummary]) -> tuple[int, ...]:
    """The numbers of the turns that wait for a person."""
    return tuple(turn.turn for turn in turns if turn.state == "waiting")
