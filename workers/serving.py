"""The worker itself: its parts built, its client connected, its tasks taken."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.heartbeats import INTERVAL
from activities.step_interceptor import StepInterceptor
from records.connection import connect
from records.sdk_runtime import sdk_runtime
from settings.layout import Layout
from settings.ports import free_port
from settings.schema import PoolSettings, Settings
from workers.admission import row_tuner
from workers.build import build_id
from workers.engines import Engines
from workers.parts import Parts
from workers.run import ready_file
from workers.schedule import keep_schedule
from workers.steps import activities_for, warm_up
from workers.timeline import Timeline
from workers.versions import deployment_config
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.keep_records_workflow import KeepRecordsWorkflow
from workflows.registration import register_search_attributes

__all__ = ["worker"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("workers")

STICKY_TIMEOUT = timedelta(seconds=3)
"""How long a conversation waits for the worker that holds it in memory before any worker may take it up: after a kill
the SDK's own ten seconds would be waiting for nobody."""

SERVER_SECONDS = 30
"""How long a server that is still starting is waited for, after the worker's own parts are ready."""


@asynccontextmanager
async def worker(
    settings: Settings, pool: str, engines: Engines | None, timeline: Timeline, *, heartbeat: float = INTERVAL
) -> AsyncIterator[None]:
    """Takes tasks inside, and lets those it has finish at the end. ``heartbeat``: seconds between a
    generation's two."""
    options = settings.pools[pool]
    identity = f"{pool}@{socket.gethostname()}:{os.getpid()}"
    async with AsyncExitStack() as stack:
        with timeline.step("records"):
            parts = await Parts.open(settings, stack)
        activities = await activities_for(
            options.serves, parts, engines, timeline, identity=identity, heartbeat=heartbeat
        )
        with timeline.step("Temporal"):
            runtime, metrics = _runtime(options)
            client = await connect(
                settings.temporal,
                interceptors=(StepInterceptor(pool, identity, parts.events),),
                runtime=runtime,
                identity=identity,
                wait_seconds=SERVER_SECONDS,
                protection=parts.protection,
            )
            if "workflows" in options.serves:
                await _register_search_attributes(client)
        tuner = None
        if engines is not None and set(options.serves) == {"generate_answer"}:
            tuner = row_tuner(list(engines.keepers.values()), options.slots)
        serving = Worker(
            client,
            task_queue=options.task_queue or pool,
            workflows=[ConversationWorkflow, DialogueWorkflow, KeepRecordsWorkflow]
            if "workflows" in options.serves
            else [],
            activities=activities,
            build_id=None if options.version else await asyncio.to_thread(build_id),  # a version names its build itself
            max_cached_workflows=options.max_cached_workflows,
            max_concurrent_activities=None if tuner else options.slots,
            tuner=tuner,
            max_concurrent_activity_task_polls=options.pollers,
            max_concurrent_workflow_task_polls=max(2, options.pollers),
            # else the SDK holds them back for four fifths of the heartbeat timeout, and a cancel with them
            max_heartbeat_throttle_interval=timedelta(seconds=heartbeat),
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            deployment_config=deployment_config(options.version),
            graceful_shutdown_timeout=timedelta(seconds=options.shutdown_seconds),
        )
        ready = ready_file(Layout.of(settings), pool, os.getpid())
        async with serving:
            version = options.version.build if options.version else None
            told = {"metrics": metrics, "version": version, "seconds": timeline.now(), "steps": timeline.steps}
            ready.parent.mkdir(parents=True, exist_ok=True)
            ready.write_text(json.dumps({"pid": os.getpid(), "identity": identity, **told}))
            log.info("worker ready", task_queue=serving.task_queue, serves=list(options.serves), **told)
            _beside(stack, warm_up(options.serves, parts))
            if "workflows" in options.serves:
                _beside(stack, keep_schedule(client, serving.task_queue, settings.records.keep_minutes))
            try:
                yield
            finally:
                ready.unlink(missing_ok=True)
            log.info("worker stopping")


def _beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Goes on in the background until it is done or ``stack`` is left."""
    task = asyncio.create_task(work)
    stack.callback(task.cancel)


async def _register_search_attributes(client: Client) -> None:
    """Where the server does not allow it, `parley doctor` says what an operator has to add."""
    try:
        added = await register_search_attributes(client)
    except RPCError as error:
        log.warning("search attributes not registered", reason=error.message)
    else:
        if added:
            log.info("search attributes registered", names=added)


def _runtime(options: PoolSettings) -> tuple[Runtime, str]:
    """A runtime whose metrics, the SDK's and ours, stand on one port; with the address."""
    port = options.metrics_port or free_port()
    address = f"127.0.0.1:{port}"
    metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True)
    return sdk_runtime(metrics), f"http://{address}/metrics"
