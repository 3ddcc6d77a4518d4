"""Starts `parley up`, one of its processes, or the floor of either, and says when it was ready and what that took."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.readiness import clear_stale
from cli.stack import gateway_child, server_child, worker_child
from cli.supervisor import Child, Supervisor
from settings.layout import Layout
from settings.load import load
from tests.support.site import REPOSITORY, write_settings
from workers.run import ready_file

__all__ = ["Floor", "Started", "Starter"]

# What each process cannot do without, as it uses it.
LIBRARIES = {
    "dialogue": (
        "temporalio.worker, temporalio.contrib.pydantic, sqlalchemy.ext.asyncio, aiosqlite, tokenizers, "
        "sentence_transformers, sklearn.feature_extraction.text, faiss, bm25s"
    ),
    "gpu": "temporalio.worker, temporalio.contrib.pydantic, sqlalchemy.ext.asyncio, aiosqlite, tokenizers",
    "engine": "torch, safetensors.torch, tokenizers",
    "gateway": "temporalio.client, temporalio.contrib.pydantic, starlette.applications, granian.server.embed",
}
_STAGE = re.compile(r"\[\d/\d\] (.+?)  ")
Steps = dict[str, tuple[float, float]]
"""Name -> when it began and ended, in seconds from the start of the process."""


@dataclass(frozen=True, slots=True)
class Floor:
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Started:
    """``cpu_seconds``: of the process and all below it until it was ready. ``load_before``: of one minute."""

    seconds: float
    cpu_seconds: float
    load_before: float
    steps: Steps = field(default_factory=dict)


class Starter:
    """One installation below ``folder``; ``build_model``: its first start builds the model instead of taking the
    one that the tests share."""

    def __init__(self, folder: Path, *, build_model: bool) -> None:
        self._config = write_settings(folder)
        self._settings = load(self._config)
        self._layout = Layout.of(self._settings)
        if build_model:
            self._layout.models.unlink()
        self._environ = {**os.environ, "PARLEY_CONFIG": str(self._config)}

    # the whole

    async def up(self) -> Started:
        """`parley up` until it says that it is ready; its steps are its stages, each from the one before."""
        load_before, began, steps, last = os.getloadavg()[0], time.perf_counter(), {}, 0.0
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "up"),
            cwd=REPOSITORY,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        said: list[str] = []
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                said.append(line.decode().rstrip())
                now = time.perf_counter() - began
                if stage := _STAGE.search(said[-1]):
                    steps[stage[1]], last = (last, now), now
                if said[-1].startswith("Ready."):
                    return Started(now, _cpu_seconds(process.pid), load_before, steps)
            raise RuntimeError("parley up did not become ready:\n" + "\n".join(said))
        finally:
            if process.returncode is None:
                process.terminate()
                await process.stdout.read()
            await process.wait()

    # one process

    async def alone(self, name: str) -> Started:
        """One process beside a server that runs already; its steps as it tells them, where it does."""
        clear_stale(self._layout.run)
        async with Supervisor() as supervisor:
            if name != "temporal":
                await supervisor.start(self._child("temporal"))
            load_before, began = os.getloadavg()[0], time.perf_counter()
            await supervisor.start(self._child(name))
            seconds = time.perf_counter() - began
            pid = supervisor.pids[name]
            return Started(seconds, _cpu_seconds(pid), load_before, self._told(name, pid))

    def _child(self, name: str) -> Child:
        if name == "temporal":
            return server_child(self._settings, self._layout)
        if name == "gateway":
            return gateway_child(self._settings, self._layout)
        return worker_child(self._settings, self._layout, name, self._settings.pools[name], 1)

    def _told(self, name: str, pid: int) -> Steps:
        if name not in self._settings.pools:
            return {}
        told = json.loads(ready_file(self._layout, name, pid).read_text("utf-8"))
        return {step: (begin, end) for step, (begin, end) in told["steps"].items()}

    # where imports go

    async def imports(self, name: str) -> dict[str, dict[str, float]]:
        """Seconds that a start of the process, and of its engine, spent importing, by package, most first."""
        logs = {name: self._layout.logs / f"{name}.log"}
        if name == "gpu":
            logs["engine"] = self._layout.logs / f"engine-{self._settings.model.name}.log"
        for log in logs.values():
            log.unlink(missing_ok=True)
        with _variable("PYTHONPROFILEIMPORTTIME", "1"):
            await self.alone(name)
        return {process: _imported(log) for process, log in logs.items()}

    # the floor

    async def floor(self, *names: str, collector: bool = False) -> Floor:
        """The server, if it is among them, and the imports of the others, all at once. ``collector``: not paused."""
        async with Supervisor() as supervisor, asyncio.TaskGroup() as group:
            began = time.perf_counter()
            importing = [name for name in (*names, *(("engine",) if "gpu" in names else ())) if name in LIBRARIES]
            tasks = [group.create_task(asyncio.to_thread(self._import, name, collector)) for name in importing]
            if "temporal" in names:
                await supervisor.start(self._child("temporal"))
            cpu = sum([await task for task in tasks])
            seconds = time.perf_counter() - began
            return Floor(seconds, cpu + sum(_cpu_seconds(pid) for pid in supervisor.pids.values()))

    def _import(self, name: str, collector: bool) -> float:
        """CPU seconds of an interpreter that imports what that process uses, and ends at once."""
        pause = "" if collector else "gc.disable(); "
        code = f"import gc, os; {pause}import {LIBRARIES[name]}; os._exit(0)"
        process = subprocess.Popen([sys.executable, "-c", code], env=self._environ)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the libraries of {name} could not be imported")
        return used.ru_utime + used.ru_stime


def _imported(log: Path) -> dict[str, float]:
    """What Python told of its imports in that log; a module's own time counts for its package."""
    spent: Counter[str] = Counter()
    for line in log.read_text("utf-8").splitlines():
        if found := re.match(r"import time: +(\d+) \| +\d+ \| +(\w+)", line):
            spent[found[2]] += int(found[1])
    return {package: round(microseconds / 1e6, 2) for package, microseconds in spent.most_common(20)}


def _cpu_seconds(pid: int) -> float:
    """Of the process and all below it, those that ended among them."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            total += sum(each.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
