"""A site whose workers stop where the driver wants, with ways to kill, stop and restart each of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from cli import stack
from cli.supervisor import Supervisor
from model_runtime.tokenizer import Tokenizer
from records.token_log import StreamEvent
from tests.faults.caller import Caller, Said
from tests.faults.desk import Desk
from tests.faults.stops import STEPS
from tests.support.site import Site, bring_up_site, merged

__all__ = [
    "HANG_SECONDS",
    "PROCESSES",
    "QUESTIONS",
    "SMALL_TALK",
    "TWO_OF_EACH",
    "Asked",
    "FaultSite",
    "bring_up_fault_site",
]

PROCESSES = ("dialogue", "gpu", "engine", "gateway", "temporal")
QUESTIONS = (
    "How long do I have to send back shoes I bought online?",
    "What does express delivery cost?",
    "What is the daily transfer limit?",
    "How much does a replacement card cost?",
)
SMALL_TALK = ("Who won the football world cup in 1998?", "What is the boiling point of water on Mount Everest?")
"""Answered by a fixed text: out of scope, so nothing is looked up and nothing generated."""
# Short answers that are shown as they are: a turn is the six steps, once each.
_SHORT: dict[str, Any] = {
    "generation": {"max_new_tokens": 16},
    "knowledge": {"passages": 1},
    "model": {"widths": [256]},
    "tenants": {"open": {"stream": "open"}},  # whose readers get each token as it is logged
    "policies": {
        "default": {
            "output": dict.fromkeys(
                ("unsupported_claim", "citation_unsupported", "no_citation", "repetition", "cut_off"), "pass"
            )
        }
    },
}
HANG_SECONDS = 12
_SERVES = (*STEPS[:3], *STEPS[4:])
TWO_OF_EACH: dict[str, Any] = {
    "pools": {
        "dialogue": {"serves": ["workflows", *_SERVES], "processes": 2},
        "gpu": {"serves": ["generate_answer"], "slots": 16, "processes": 2},
    },
    # how long an engine may stand still: far longer than a step of twenty answers takes, even on a busy machine
    "model": {"hang_seconds": HANG_SECONDS},
}
Asked = tuple[tuple[str, int], ...]
"""Questions with their seeds."""
_command = stack._parley


def _with_stops(socket: Path, made: Path) -> Callable[..., tuple[str, ...]]:
    """The command line of a worker is that of the process that has the stops, and names this site's driver: one that is
    started again must not ask another site's."""

    def command(*arguments: str) -> tuple[str, ...]:
        if arguments[0] == "worker":
            return (sys.executable, "-m", "tests.faults.process", str(socket), str(made), *arguments)
        return _command(*arguments)

    return command


@dataclass
class FaultSite:
    """The site, its driver and its caller."""

    site: Site
    desk: Desk
    caller: Caller
    tokenizer: Tokenizer
    made: Path
    """Where its workers count what their engines make (:mod:`tests.faults.made`)."""
    answers: dict[tuple[str, int], str] = field(default_factory=dict)
    """What a question with a seed is answered when nothing is killed: always the same."""
    undisturbed: dict[tuple[Asked, str, str], float] = field(default_factory=dict)
    """Seconds from (what is asked, step, when) to the last reply when nothing is killed."""

    def say(self, *asked: tuple[str, int]) -> tuple[list[Said], list[asyncio.Task[Said]]]:
        """Begins to say each (question, seed) in a conversation of its own."""
        said = [Said(self.site.new(), question, seed) for question, seed in asked]
        return said, [asyncio.create_task(self.caller.say(each)) for each in said]

    async def stream(self, said: Said) -> tuple[list[StreamEvent], tuple[int, ...]]:
        """The events and the token ids of its turn."""
        log = self.site.token_log
        return await log.read(said.stream), await log.tokens(said.stream, 1, 0)

    async def attempts(self, conversation: str) -> list[tuple[str, int, str]]:
        """Each activity of a conversation that ended: its type, the attempt that ended it, the identity of its
        worker."""
        types: dict[int, str] = {}
        found = []
        async for event in self.site.client.get_workflow_handle(conversation).fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                types[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
            if event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                found.append((types[started.scheduled_event_id], started.attempt, started.identity))
        return found

    # processes -----------------------------------------------------------------------------------

    @property
    def supervisor(self) -> Supervisor:
        return self.site.up.supervisor

    def worker(self, pid: int) -> str:
        """The name of the supervised process that has this id."""
        return next(name for name, running in self.supervisor.pids.items() if running == pid)

    def pool(self, name: str) -> list[str]:
        """The names of that pool's processes."""
        return [each for each in self.supervisor.names if each == name or each.startswith(f"{name}-")]

    def engine_of(self, worker: str = "gpu") -> psutil.Process:
        children = psutil.Process(self.supervisor.pids[worker]).children(recursive=True)
        return next(each for each in children if "engine_process" in " ".join(each.cmdline()))

    def kill(self, process: str) -> int:
        """``kill -9``; gives the process id it had."""
        if process != "engine":
            return self.supervisor.kill(process)
        engine = self.engine_of()
        engine.kill()
        return engine.pid

    @contextlib.contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """That process and what it started (a worker's engine) stand still (SIGSTOP)."""
        group = os.getpgid(pid)
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    async def logged(self, process: str, seconds: float = 60.0, **fields: str) -> None:
        """Until the log of a process has a line with these fields."""
        log = self.site.layout.logs / f"{process}.log"
        async with asyncio.timeout(seconds):
            # another process's file: nothing tells when it grows
            while not any(  # noqa: ASYNC110
                fields.items() <= line.items() for line in await asyncio.to_thread(_json_lines, log)
            ):
                await asyncio.sleep(0.05)

    async def ready(self) -> None:
        """Until every supervised process is."""
        async with asyncio.timeout(300):
            await asyncio.gather(*(self.supervisor.ready(name) for name in self.supervisor.names))


def _json_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]


@contextlib.asynccontextmanager
async def bring_up_fault_site(folder: Path, changes: Mapping[str, Any] | None = None) -> AsyncIterator[FaultSite]:
    """Everything that ``parley up`` starts, with stops in its workers."""
    socket, made = folder / "desk", folder / "made"
    made.touch()
    async with contextlib.AsyncExitStack() as stack_:
        desk = await stack_.enter_async_context(Desk.open(socket))
        # No longer than it starts: a site that starts beside it has no stops, and keeps its own commands for restarts.
        with mock.patch.object(stack, "_parley", _with_stops(socket, made)):
            site = await stack_.enter_async_context(bring_up_site(folder, merged(_SHORT, changes or {})))
        caller = Caller(site.gateway_url)
        stack_.push_async_callback(caller.close)
        tokenizer = await asyncio.to_thread(Tokenizer.load, site.layout.model(site.settings.model))
        yield FaultSite(site, desk, caller, tokenizer, made)
        desk.forget()
