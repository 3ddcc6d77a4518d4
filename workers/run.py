"""Serves one pool until it is told to stop: the body of ``parley worker POOL``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.step_interceptor import StepInterceptor
from dialogue.faults import RecordsFault, SettingsFault
from records.connection import connect
from records.token_log import TokenLog
from settings.layout import Layout
from settings.logs import configure_logs
from settings.ports import free_port
from settings.schema import PoolSettings, Settings
from workers.parts import Parts
from workers.steps import activities_for
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.registration import register_search_attributes

__all__ = ["ready_file", "run_worker"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("workers")

HEARTBEAT_THROTTLE = timedelta(seconds=0.2)
"""How often heartbeats reach the server, and so how late a cancel can arrive (measured: 0.08 s in the mean)."""


def ready_file(layout: Layout, pool: str, pid: int) -> Path:
    """Written once the worker of that process takes tasks, removed when it ends."""
    return layout.run / f"worker-{pool}-{pid}.json"


async def run_worker(settings: Settings, pool: str, *, stop: asyncio.Event | None = None) -> None:
    """Until SIGINT, SIGTERM or ``stop``. Then takes no more tasks and lets those it has finish.

    Raises SettingsFault for an unknown pool, ConnectionError without a server, and what its parts raise.
    """
    if pool not in settings.pools:
        raise SettingsFault(f"pools: there is no pool {pool!r}; there are {', '.join(settings.pools)}.")
    configure_logs(settings.log, pool=pool)
    options = settings.pools[pool]
    identity = f"{pool}@{socket.gethostname()}:{os.getpid()}"
    stopping = stop or _stop_on_signals()
    async with AsyncExitStack() as stack:
        parts = await Parts.open(settings, stack)
        runtime, metrics = _runtime(options)
        client = await connect(
            settings.temporal,
            interceptors=(StepInterceptor(pool, identity, parts.events),),
            runtime=runtime,
            identity=identity,
            wait_seconds=30,
        )
        if "workflows" in options.serves:
            await _register_search_attributes(client)
        activities = await activities_for(options.serves, parts, stack, identity=identity)
        worker = Worker(
            client,
            task_queue=options.task_queue or pool,
            workflows=[ConversationWorkflow, DialogueWorkflow] if "workflows" in options.serves else [],
            activities=activities,
            max_cached_workflows=options.max_cached_workflows,
            max_concurrent_activities=options.slots,
            max_concurrent_activity_task_polls=options.pollers,
            max_concurrent_workflow_task_polls=max(2, options.pollers),
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=timedelta(seconds=options.shutdown_seconds),
        )
        if "return_answer" in options.serves:
            trimming = asyncio.create_task(_trim(parts.token_log, settings.records.token_log_days))
            stack.callback(trimming.cancel)
        ready = ready_file(parts.layout, pool, os.getpid())
        async with worker:
            ready.parent.mkdir(parents=True, exist_ok=True)
            ready.write_text(json.dumps({"pid": os.getpid(), "identity": identity, "metrics": metrics}))
            log.info("worker ready", task_queue=worker.task_queue, serves=list(options.serves), metrics=metrics)
            try:
                await stopping.wait()
            finally:
                ready.unlink(missing_ok=True)
            log.info("worker stopping")


async def _trim(token_log: TokenLog, days: float) -> None:
    """Removes old streams now and every hour. A log that cannot be trimmed is said so and tried again."""
    while True:
        try:
            removed = await token_log.trim(days * 86_400)
        except RecordsFault as fault:
            log.warning("token log not trimmed", fault=fault.type, reason=fault.message)
        else:
            log.info("token log trimmed", streams=removed)
        await asyncio.sleep(3600)


async def _register_search_attributes(client: Client) -> None:
    """Where the server does not allow it, `parley doctor` says what an operator has to add."""
    try:
        added = await register_search_attributes(client)
    except RPCError as error:
        log.warning("search attributes not registered", reason=error.message)
    else:
        if added:
            log.info("search attributes registered", names=added)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _runtime(options: PoolSettings) -> tuple[Runtime, str]:
    """A runtime whose metrics, the SDK's and ours, stand on one port; with the address."""
    port = options.metrics_port or free_port()
    address = f"127.0.0.1:{port}"
    metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True)
    return Runtime(telemetry=TelemetryConfig(metrics=metrics)), f"http://{address}/metrics"
