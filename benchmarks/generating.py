"""A real GPU worker with its engine process, and Parley's own conversations whose other steps do nothing.

Worker and clients share this process, so that the engine can be asked at any moment; it and the server are their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.worker import Worker

from benchmarks.metrics_page import samples
from benchmarks.shapes import Living, file_server
from dialogue.faults import ParleyFault
from dialogue.messages import CancelTurn, Say
from gateway.conversations import Conversations
from model_runtime.keeper import EngineKeeper
from model_runtime.prepare import prepare_model
from model_runtime.protocol import Engine
from records.connection import connect
from records.token_log import TokenLog
from settings.layout import Layout
from settings.load import load
from settings.logs import configure_logs
from settings.schema import Settings
from tests.support.scripted_steps import ScriptedSteps
from tests.support.site import write_settings
from workers.engines import Engines
from workers.parts import Parts
from workers.run import ready_file
from workers.serving import worker
from workers.timeline import Timeline
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

__all__ = ["QUESTION", "ROWS", "Generating", "Running", "Stand", "stand", "until_freed"]

ROWS = 8
LOOK_SECONDS = 0.002
PROMPTLY = 10.0
"""No row takes so long to come free; a cancel that does was lost."""
LONGEST = 900
LONG_ANSWERS: Mapping[str, Any] = {
    "model": {"rows": ROWS, "widths": [1024]},
    "generation": {"max_new_tokens": LONGEST, "temperature": 0.8, "max_tries": 1},
}
"""One row for each of the answers; none is made again when it turns out poor."""
# The script sends what has `chat` in it to the model without looking anything up.
QUESTION = "Let us chat. Tell me a very long story about a dog, a boat and a lighthouse, in many chapters."


@dataclass(frozen=True, slots=True)
class Running:
    """A turn that is being generated: its first token was logged."""

    conversation: str
    saying: asyncio.Task[Any]

    @property
    def ended_by_itself(self) -> bool:
        """Whether it was replied to, and not because it was cancelled."""
        return self.saying.done() and self.saying.result().verdict != "cancelled"


@dataclass(frozen=True, slots=True)
class Generating:
    """A worker of one heartbeat interval. ``metrics`` is its address."""

    stand: Stand
    metrics: str

    async def begin(self) -> Running:
        """Says something and waits for the first token of the answer."""
        name = f"benchmark-{uuid.uuid4().hex}"
        say = Say(message_id="m1", text=QUESTION)
        saying = asyncio.create_task(self.stand.conversations.say(name, say, fresh=True))
        async with aclosing(self.stand.token_log.follow(f"{name}/0001", until_kinds=("token",))) as events:
            async for _ in events:
                pass
        return Running(name, saying)

    async def cancel(self, running: Running) -> None:
        """As the gateway does. Raises the fault of a turn that ended already."""
        await self.stand.conversations.cancel_turn(running.conversation, CancelTurn())

    async def heartbeats(self) -> float:
        """How many requests with a heartbeat the worker sent so far."""
        return await asyncio.to_thread(_requests, self.metrics, "RecordActivityTaskHeartbeat")


@dataclass(frozen=True, slots=True)
class Stand:
    """What stays up while workers come and go."""

    settings: Settings
    conversations: Conversations
    token_log: TokenLog
    engines: Engines
    keeper: EngineKeeper

    async def engine(self) -> Engine:
        return await self.keeper.ready()

    async def generated(self, conversation: str) -> bool:
        """Whether the first answer of ``conversation`` was there: the step behind the generation began."""
        events = await self.token_log.read(f"{conversation}/0001", limit=10_000)
        return any(event.data.get("step") == "review_answer" for event in events)

    @asynccontextmanager
    async def generating(self, interval: float) -> AsyncGenerator[Generating]:
        """A worker whose generations send a heartbeat every ``interval`` seconds."""
        async with worker(self.settings, "gpu", self.engines, Timeline(), heartbeat=interval):
            ready = ready_file(Layout.of(self.settings), "gpu", os.getpid())
            yield Generating(self, json.loads(await asyncio.to_thread(ready.read_text, "utf-8"))["metrics"])


@asynccontextmanager
async def stand(folder: Path, changes: Mapping[str, Any] = LONG_ANSWERS) -> AsyncGenerator[Stand]:
    """Server, engine, and a worker for all but the generation, under the project's own settings with ``changes``.

    Raises what the engine's own start raises.
    """
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(await file_server(folder / "temporal.db"))
        settings = _settings(folder, environment.client.service_client.config.target_host, changes)
        configure_logs(settings.log, pool="gpu")
        model = settings.model
        await asyncio.to_thread(
            prepare_model, model.source, name=model.name, method=model.held, folder=Layout.of(settings).models
        )
        engines = Engines(settings, stack, Timeline())
        parts = await Parts.open(settings, stack)
        planner = parts.planner(await parts.policies())
        client = await connect(settings.temporal)
        steps = ScriptedSteps("dialogue", planner=planner.plan, token_log=parts.token_log)
        beside = Worker(
            client,
            task_queue="dialogue",
            workflows=[ConversationWorkflow, DialogueWorkflow],
            activities=[each for each in steps.activities() if each.__name__ != "generate_answer"],
            interceptors=[Living()],
        )
        await stack.enter_async_context(beside)
        conversations = Conversations(client, task_queue="dialogue", web_ui=settings.temporal.web_ui)
        yield Stand(settings, conversations, parts.token_log, engines, await engines.ready(model.name))


async def until_freed(
    stood: Stand, conversation: str, cancelling: Coroutine[Any, Any, object], ended_by_itself: Callable[[], bool]
) -> float | None:
    """Milliseconds from the beginning of ``cancelling`` to the free row; ``None`` where the answer ended before it was
    cancelled, or in that moment: its row is free then, and the engine counted no cancel.

    Raises TimeoutError when no row comes free.
    """
    engine = await stood.engine()
    before, busy = (await engine.stats())["cancelled"], (await engine.capacity()).rows_busy
    began = time.perf_counter()
    task = asyncio.create_task(cancelling)
    try:
        async with asyncio.timeout(PROMPTLY):
            # another process: nothing tells when it frees a row
            while (await engine.stats())["cancelled"] == before:
                if ended_by_itself():  # a cancelled turn is replied to at once, before its row is free
                    return None
                await asyncio.sleep(LOOK_SECONDS)
        freed = time.perf_counter()
        if (await engine.capacity()).rows_busy >= busy:
            raise RuntimeError("the engine counted a cancel and freed no row")
    except TimeoutError:
        if await stood.generated(conversation) or (await engine.capacity()).rows_busy < busy:
            return None
        raise
    finally:
        with contextlib.suppress(ParleyFault):  # nothing runs any more that could be cancelled
            await task
    return 1000 * (freed - began)


def _settings(folder: Path, address: str, changes: Mapping[str, Any]) -> Settings:
    # a step that is cancelled says so, each time
    own = {"temporal": {"address": address}, "log": {"level": "error"}}
    return load(write_settings(folder, {**changes, **own}))


def _requests(metrics: str, operation: str) -> float:
    return sum(
        value
        for name, labels, value in samples(metrics)
        if name == "temporal_request" and labels.get("operation") == operation
    )
