"""Everything that Parley needs on one machine, started in order and kept running: the body of ``parley up``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.readiness import clear_stale, gateway_url, listens
from cli.running import Running, only_one
from cli.stages import Stage, Stages
from cli.supervisor import Child, ChildFailed, Supervisor, last_line
from cli.temporal_server import address_of, is_local, port_open, server_command, set_retention
from cli.versions import version_of
from dialogue.faults import fault_named
from settings.layout import Layout
from settings.ports import check_free
from settings.schema import PoolSettings, Settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Up", "bring_up", "describe_pool", "worker_child"]

STAGES = 6
SERVER, GATEWAY = "temporal", "gateway"
_WORKER_SECONDS = 300.0  # a large model takes its time to load


@dataclass(frozen=True, slots=True)
class Up:
    """What runs now."""

    settings: Settings
    supervisor: Supervisor
    running: Running


@contextlib.asynccontextmanager
async def bring_up(settings: Settings, console: Console) -> AsyncIterator[Up]:
    """Starts everything; leaving stops everything, gateway first, then the workers, then the server.

    Raises AlreadyRunning, SettingsFault for a busy port, ChildFailed, and what preparing the model raises.
    """
    layout = Layout.of(settings)
    with only_one(layout.run) as place:
        clear_stale(layout.run)
        _check_ports(settings)
        stages = Stages(console, STAGES)
        _say_hello(settings, console)
        async with Supervisor(lambda line: console.print(f"  {line}")) as supervisor:
            with stages.stage("Python environment") as stage:
                stage.done(_environment())
            await _prepare(settings, layout, stages)
            with stages.stage("Temporal") as stage:
                stage.done(await _temporal(settings, layout, supervisor))
            with stages.stage("Worker pools") as stage:
                stage.done(await _workers(settings, layout, supervisor, stage))
            with stages.stage("Gateway") as stage:
                url = await _gateway(settings, layout, supervisor)
                stage.done(f"{url}  (/v1/chat, /docs)")
            state = Running(os.getpid(), url, settings.temporal.address, settings.temporal.web_ui, supervisor.pids)
            place.publish(state)
            yield Up(settings, supervisor, state)


def _say_hello(settings: Settings, console: Console) -> None:
    profile = "embedded profile" if _starts_server(settings) else f"Temporal at {settings.temporal.address}"
    console.print(f"Parley {version_of('parley')} · {profile} · everything below stays in {_near(settings.data)}")


def _near(path: Path) -> str:
    """Relative to the current folder where it is below it."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def _starts_server(settings: Settings) -> bool:
    return settings.temporal.dev_server.start and is_local(settings.temporal)


def _check_ports(settings: Settings) -> None:
    """Before anything is started, so that a busy port costs no waiting. Raises SettingsFault."""
    if _starts_server(settings):
        host, port = address_of(settings.temporal)
        check_free(host, port, "temporal.address")
        check_free(host, settings.temporal.dev_server.ui_port, "temporal.dev_server.ui_port")
    check_free(settings.gateway.host, settings.gateway.port, "gateway.port")
    for name, pool in settings.pools.items():
        check_free("127.0.0.1", pool.metrics_port, f"pools.{name}.metrics_port")


def _environment() -> str:
    return f"ready · Python {platform.python_version()} · torch {version_of('torch')}"


# what is prepared once -----------------------------------------------------------------------------


async def _prepare(settings: Settings, layout: Layout, stages: Stages) -> None:
    """In a process of its own, so that the memory a model takes while it is built is given back."""
    log = layout.logs / "prepare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *_parley("prepare", "--json"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **_environ(settings)},
            start_new_session=True,
        )
    try:
        label = f"Model {settings.model.name} {settings.model.quantization}"
        with stages.stage(label) as stage:
            done = await _follow(process, log, stage, "model")
            for _ in settings.models:
                done = f"{done} · {(await _follow(process, log, stage, 'model'))}"
            stand_in = settings.model.source.startswith("wheel:")
            stage.done(f"{done}  (no R1: see README)" if stand_in else done)
        with stages.stage("Knowledge base") as stage:
            stage.done(await _follow(process, log, stage, "knowledge"))
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _follow(process: asyncio.subprocess.Process, log: Path, stage: Stage, what: str) -> str:
    """Shows the events of one thing until its result; gives that."""
    if process.stdout is None:
        raise ChildFailed("prepare has no output")
    async for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["what"] == "fault":
            raise fault_named(event["type"], event["text"])
        if event["what"] == what:
            if event.get("done"):
                return str(event["text"])
            stage.update(str(event["text"]))
    raise ChildFailed(f"prepare ended with exit code {await process.wait()}; see {log}{last_line(log)}")


# what keeps running --------------------------------------------------------------------------------


def _parley(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli.main", *arguments)


def _environ(settings: Settings) -> dict[str, str]:
    """Children read the same file, wherever they are started."""
    file = Path(settings.origins.file)
    given = {"PARLEY_CONFIG": str(file.absolute())} if file.is_file() else {}
    return {**given, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"), "PYTHONUNBUFFERED": "1"}


async def _temporal(settings: Settings, layout: Layout, supervisor: Supervisor) -> str:
    from workflows.names import SEARCH_ATTRIBUTES

    temporal = settings.temporal
    if not _starts_server(settings):
        from records.connection import connect

        await connect(temporal, wait_seconds=10)
        return f"{temporal.address} · Web UI {temporal.web_ui}"
    host, port = address_of(temporal)
    layout.data.mkdir(parents=True, exist_ok=True)

    async def accepts(pid: int) -> bool:
        return await port_open(host, port)

    command = server_command(settings, SEARCH_ATTRIBUTES)
    await supervisor.start(Child(SERVER, command, layout.logs / "temporal.log", accepts))
    await set_retention(temporal)
    return f"{temporal.address} · Web UI {temporal.web_ui}"


async def _workers(settings: Settings, layout: Layout, supervisor: Supervisor, stage: Stage) -> str:
    stage.update("loading models and indices")
    children = [
        worker_child(settings, layout, name, pool, number)
        for name, pool in settings.pools.items()
        for number in range(1, pool.processes + 1)
    ]
    await supervisor.start(*children)
    return "  ".join(describe_pool(settings, name, pool) for name, pool in settings.pools.items())


def worker_child(settings: Settings, layout: Layout, pool: str, options: PoolSettings, number: int) -> Child:
    name = pool if number == 1 else f"{pool}-{number}"
    # one port cannot serve two workers' metrics
    first = {} if number == 1 else {f"PARLEY_POOLS__{pool.upper()}__METRICS_PORT": "0"}

    async def takes_tasks(pid: int) -> bool:
        return listens(layout.run / f"worker-{pool}-{pid}.json", pid)

    return Child(
        name,
        _parley("worker", pool),
        layout.logs / f"{name}.log",
        takes_tasks,
        ready_seconds=_WORKER_SECONDS,
        stop_seconds=options.shutdown_seconds + 10,
        environ={**_environ(settings), **first},
    )


def describe_pool(settings: Settings, name: str, pool: PoolSettings) -> str:
    many = f" ×{pool.processes}" if pool.processes > 1 else ""
    if "generate_answer" not in pool.serves:
        return f"{name} ✓{many}"
    device = "the CPU" if settings.model.device == "cpu" else settings.model.device
    return f"{name} ✓{many} (on {device}, {settings.model.rows} rows)"


async def _gateway(settings: Settings, layout: Layout, supervisor: Supervisor) -> str:
    file = layout.run / "gateway.json"

    async def is_listening(pid: int) -> bool:
        return listens(file, pid)

    await supervisor.start(
        Child(GATEWAY, _parley("gateway"), layout.logs / "gateway.log", is_listening, environ=_environ(settings))
    )
    return gateway_url(file)
