"""What `parley replay verify` costs over the SDK's bare Replayer, on a conversation of 500 turns.

The conversation is recorded from a real server with steps that do nothing; the server itself suggests when a run is
over, so it is a chain of runs. Each way reads the exported files and replays all of it. *Bare* is the SDK's Replayer as
it comes, with nothing but a converter; *plugin* has Parley's plugin too, whose sandbox shares the workflow code between
runs and is not entered to ask whose payload one is; *verify* also checks order and decoding, and holds every command's
arguments against the history.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from benchmarks.figures import spread
from benchmarks.shapes import file_server, serving
from records.payloads import data_converter
from records.plugin import parley_plugin
from replay.exact import history_exact
from replay.histories import from_file, live
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

__all__ = ["run", "table"]

TURNS = 500
WORKFLOWS = [ConversationWorkflow, DialogueWorkflow]


async def run(*, quick: bool = False) -> dict[str, Any]:
    """``events_per_second`` of each way; its time as a multiple of the bare Replayer's (``to_bare``), and of that
    Replayer's with the plugin (``to_plugin``)."""
    turns, rounds = (6, 1) if quick else (TURNS, 3)
    with tempfile.TemporaryDirectory() as folder:
        files = await _record(Path(folder), turns)
        events = sum(len(json.loads(file.read_text())["events"]) for file in files)
        ways = {"bare": _bare, "plugin": _plugin, "verify": _verify}
        for way in ways.values():  # warm: what is imported and compiled once
            await way(files[:1])
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                seconds[name].append(await _timed(way, files))
    return {
        "turns": turns,
        "runs": len(files),
        "events": events,
        "rounds": rounds,
        "ways": {
            name: {
                "seconds": spread(took),
                "events_per_second": spread([events / each for each in took], 0),
                "to_bare": _ratio(took, seconds["bare"]),
                "to_plugin": _ratio(took, seconds["plugin"]),
            }
            for name, took in seconds.items()
        },
    }


def _ratio(took: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    return spread([each / beside for each, beside in zip(took, base, strict=True)])


async def _record(folder: Path, turns: int) -> list[Path]:
    name = f"benchmark-{uuid.uuid4().hex}"
    server = await file_server(folder / "temporal.db")
    async with server as environment, serving(environment.client) as shapes:
        for number in range(1, turns + 1):
            await shapes["turn"].speak(name, number)
        await shapes["turn"].close(name)
        chain = await live(environment.client, name)
    files: list[Path] = []
    for number, each in enumerate(chain.runs, 1):
        files.append(folder / f"{number:03}.json")
        await asyncio.to_thread(files[-1].write_text, each.history().to_json())
    return files


async def _timed(way: Callable[[list[Path]], Awaitable[None]], files: list[Path]) -> float:
    began = time.perf_counter()
    await way(files)
    return time.perf_counter() - began


async def _bare(files: list[Path]) -> None:
    await _replay(files, Replayer(workflows=WORKFLOWS, data_converter=data_converter))


async def _plugin(files: list[Path]) -> None:
    await _replay(files, Replayer(workflows=WORKFLOWS, plugins=[parley_plugin()]))


async def _replay(files: list[Path], replayer: Replayer) -> None:
    for file in files:
        history = WorkflowHistory.from_json(file.stem, await asyncio.to_thread(file.read_text))
        await replayer.replay_workflow(history)


async def _verify(files: list[Path]) -> None:
    for file in files:
        exact = await history_exact(await from_file(file, data_converter))
        assert exact.state == "same", exact


def table(result: dict[str, Any]) -> Table:
    title = f"{result['turns']} turns, {result['events']} events in {result['runs']} runs, median of {result['rounds']}"
    shown = Table("", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("seconds", "events/s", "× bare", "least", "greatest", "× plugin"):
        shown.add_column(column, justify="right")
    told = {"bare": "the SDK's Replayer", "plugin": "with Parley's plugin", "verify": "replay verify"}
    for name, label in told.items():
        way = result["ways"][name]
        ratio = way["to_bare"]
        shown.add_row(
            label,
            f"{way['seconds']['median']:.1f}",
            f"{way['events_per_second']['median']:.0f}",
            *(f"{ratio[which]:.2f}" for which in ("median", "least", "greatest")),
            f"{way['to_plugin']['median']:.2f}",
        )
    return shown
