"""Everything that Parley needs on one machine, started in order and kept running: the body of ``parley up``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.prepared import all_models, prepared
from cli.readiness import clear_stale, gateway_url, listens
from cli.running import Running, only_one
from cli.stages import Stage, Stages
from cli.supervisor import Child, ChildFailed, Supervisor, last_line
from cli.temporal_server import address_of, is_local, port_open, server_command, set_retention
from cli.versions import version_of
from dialogue.faults import fault_named
from settings.layout import Layout
from settings.ports import check_free, free_port
from settings.schema import PoolSettings, Settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Up", "bring_up", "codec_child", "describe_pool", "gateway_child", "server_child", "worker_child"]

STAGES = 6
SERVER, GATEWAY, CODEC = "temporal", "gateway", "codec"
GATEWAY_FILE, CODEC_FILE = "gateway.json", "codec_server.json"
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

    What does not need another is started beside it: the server at once, workers and gateway as soon as what they read
    is prepared, for they wait for the server themselves. The stages are told in order, each when it is done.

    Raises AlreadyRunning, SettingsFault for a busy port, ChildFailed, and what preparing the model raises.
    """
    layout = Layout.of(settings)
    settings = _with_codec_port(settings)
    with only_one(layout.run) as place:
        clear_stale(layout.run)
        _check_ports(settings)
        stages = Stages(console, STAGES)
        _say_hello(settings, console)
        async with Supervisor(lambda line: console.print(f"  {line}")) as supervisor:
            try:
                async with asyncio.TaskGroup() as starting:
                    url = await _start(settings, layout, supervisor, stages, starting)
            except ExceptionGroup as faults:
                raise faults.exceptions[0] from None
            state = Running(os.getpid(), url, settings.temporal.address, settings.temporal.web_ui, supervisor.pids)
            place.publish(state)
            yield Up(settings, supervisor, state)


async def _start(
    settings: Settings, layout: Layout, supervisor: Supervisor, stages: Stages, starting: asyncio.TaskGroup
) -> str:
    """All six stages; gives the gateway's address. The first task that fails ends the others."""
    temporal = starting.create_task(_temporal(settings, layout, supervisor))
    with stages.stage("Python environment") as stage:
        stage.done(_environment())
    await _prepare(settings, layout, stages)
    # tasks begin in the order they are made, and groups are stopped in the reverse order
    workers = starting.create_task(_workers(settings, layout, supervisor))
    gateway = starting.create_task(_gateway(settings, layout, supervisor))
    codec = starting.create_task(_codec(settings, layout, supervisor))
    with stages.stage("Temporal") as stage:
        stage.done(await temporal + await codec)
    with stages.stage("Worker pools") as stage:
        stage.update("loading models and indices")
        stage.done(await workers)
    with stages.stage("Gateway") as stage:
        url = await gateway
        stage.done(f"{url}  (chat page; /v1/chat, /docs)")
    return url


def _say_hello(settings: Settings, console: Console) -> None:
    profile = "embedded profile" if _starts_server(settings) else f"Temporal at {settings.temporal.address}"
    console.print(f"Parley {version_of('parley')} · {profile} · everything below stays in {_near(settings.data)}")


def _near(path: Path) -> str:
    """Relative to the current folder where it is below it."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def _starts_server(settings: Settings) -> bool:
    return settings.temporal.dev_server.start and is_local(settings.temporal)


def _encrypts(settings: Settings) -> bool:
    return settings.encryption.provider != "none"


def _with_codec_port(settings: Settings) -> Settings:
    """The Web UI is told where the codec server is before that takes a port."""
    if settings.codec_server.port or not _encrypts(settings):
        return settings
    given = settings.codec_server.model_copy(update={"port": free_port()})
    return settings.model_copy(update={"codec_server": given})


def _check_ports(settings: Settings) -> None:
    """Before anything is started, so that a busy port costs no waiting. Raises SettingsFault."""
    if _starts_server(settings):
        host, port = address_of(settings.temporal)
        check_free(host, port, "temporal.address")
        check_free(host, settings.temporal.dev_server.ui_port, "temporal.dev_server.ui_port")
    check_free(settings.gateway.host, settings.gateway.port, "gateway.port")
    if _encrypts(settings):
        check_free(settings.codec_server.host, settings.codec_server.port, "codec_server.port")
    for name, pool in settings.pools.items():
        check_free("127.0.0.1", pool.metrics_port, f"pools.{name}.metrics_port")


def _environment() -> str:
    return f"ready · Python {platform.python_version()} · torch {version_of('torch')}"


# what is prepared once -----------------------------------------------------------------------------


async def _prepare(settings: Settings, layout: Layout, stages: Stages) -> None:
    label = f"Model {settings.model.name} {settings.model.held}"
    if (found := await asyncio.to_thread(prepared, settings)) is None:
        await _prepare_now(settings, layout, stages, label)
        return
    with stages.stage(label) as stage:
        stage.done(_models_told(settings, found.models))
    with stages.stage("Knowledge base") as stage:
        stage.done(found.knowledge)


def _models_told(settings: Settings, lines: Sequence[str]) -> str:
    stand_in = "  (no R1: see README)" if settings.model.source.startswith("wheel:") else ""
    return " · ".join(lines) + stand_in


async def _prepare_now(settings: Settings, layout: Layout, stages: Stages, label: str) -> None:
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
        with stages.stage(label) as stage:
            done = [await _follow(process, log, stage, "model") for _ in all_models(settings)]
            stage.done(_models_told(settings, done))
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
    """Children read the same file, wherever they are started. Threads of theirs that wait do not spin: several
    processes start at once, and a spinning thread takes the core that another needs."""
    file = Path(settings.origins.file)
    given = {"PARLEY_CONFIG": str(file.absolute())} if file.is_file() else {}
    usual = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**given, **{name: os.environ.get(name, value) for name, value in usual.items()}, "PYTHONUNBUFFERED": "1"}


async def _temporal(settings: Settings, layout: Layout, supervisor: Supervisor) -> str:
    temporal = settings.temporal
    if _starts_server(settings):
        await supervisor.start(server_child(settings, layout))
        await set_retention(temporal)
    else:
        from records.connection import connect

        await connect(temporal, wait_seconds=10)
    return f"{temporal.address} · Web UI {temporal.web_ui}"


def server_child(settings: Settings, layout: Layout) -> Child:
    from workflows.names import SEARCH_ATTRIBUTES

    host, port = address_of(settings.temporal)
    layout.data.mkdir(parents=True, exist_ok=True)

    async def accepts(pid: int) -> bool:
        return await port_open(host, port)

    return Child(SERVER, server_command(settings, SEARCH_ATTRIBUTES), layout.logs / "temporal.log", accepts)


async def _workers(settings: Settings, layout: Layout, supervisor: Supervisor) -> str:
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
    await supervisor.start(gateway_child(settings, layout))
    return gateway_url(layout.run / GATEWAY_FILE)


def gateway_child(settings: Settings, layout: Layout) -> Child:
    async def is_listening(pid: int) -> bool:
        return listens(layout.run / GATEWAY_FILE, pid)

    return Child(GATEWAY, _parley("gateway"), layout.logs / "gateway.log", is_listening, environ=_environ(settings))


async def _codec(settings: Settings, layout: Layout, supervisor: Supervisor) -> str:
    """Beside everything where payloads are encrypted, so that the Web UI has whom to ask."""
    if not _encrypts(settings):
        return ""
    await supervisor.start(codec_child(settings, layout))
    return f" · codec server {settings.codec_server.reached_at(settings.codec_server.port, tls=_speaks_tls(settings))}"


def codec_child(settings: Settings, layout: Layout) -> Child:
    async def is_listening(pid: int) -> bool:
        return listens(layout.run / CODEC_FILE, pid)

    port = {"PARLEY_CODEC_SERVER__PORT": str(settings.codec_server.port)}
    environ = {**_environ(settings), **port}
    return Child(CODEC, _parley("codec"), layout.logs / "codec.log", is_listening, environ=environ)


def _speaks_tls(settings: Settings) -> bool:
    return settings.gateway.tls is not None
