"""What a turn costs beside the work of its steps: six steps that do nothing, against one activity.

Both are conversations spoken to by update-with-start, on one real server with a file database, one after the other in
every run. Worker and clients share this process, as they do for the floor.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from benchmarks.figures import percentile, spread
from benchmarks.floor import FloorWorkflow, floor_step
from dialogue.messages import Say
from gateway.conversations import Conversations
from records.plugin import parley_plugin
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.support.servers import DYNAMIC_CONFIG_ARGS, executable
from workflows.names import INTENT, MODEL, SNAPSHOT, TENANT, VARIANT, VERDICT

__all__ = ["run", "table"]

# As `parley up` starts it: the file database's own defaults wait for the disk at every commit.
PRAGMAS = ("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1")
ATTRIBUTES = (TENANT, INTENT, VARIANT, VERDICT, MODEL, SNAPSHOT)
QUESTION = "How long do I have to send something back?"

Speak = Callable[[str, int], Awaitable[object]]
"""Says the nth message, from 1, in a conversation."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many conversations at once, each of so many turns, one after another."""

    conversations: int
    turns: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one shape. ``milliseconds``: every turn but the first of each conversation, which also opens it."""

    milliseconds: Sequence[float]
    turns_per_second: float
    events: float
    bytes: float

    def p(self, share: int) -> float:
        return percentile(self.milliseconds, share)


LOADS = (Load(1, 40), Load(50, 6))
QUICK_LOADS = (Load(1, 3), Load(3, 3))


async def run(*, quick: bool = False) -> dict[str, Any]:
    """Rows of figures, one a shape and load; ``to_floor`` are medians of each run's own ratio."""
    loads, runs = (QUICK_LOADS, 1) if quick else (LOADS, 3)
    with tempfile.TemporaryDirectory() as folder:
        async with await _server(Path(folder) / "temporal.db") as environment:
            rows = await _measure_all(environment.client, loads, runs)
    return {"runs": runs, "database": "file, journal_mode=WAL, synchronous=1", "rows": rows}


async def _server(database: Path) -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable("temporal"),
        dev_server_database_filename=str(database),
        dev_server_extra_args=[*DYNAMIC_CONFIG_ARGS, *PRAGMAS],
        search_attributes=ATTRIBUTES,
        plugins=[parley_plugin()],
    )


async def _measure_all(client: Client, loads: Sequence[Load], runs: int) -> list[dict[str, Any]]:
    steps = ScriptedSteps("benchmark-turn")
    conversations = Conversations(client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233")
    floor_queue = "benchmark-floor"
    floor = Worker(client, task_queue=floor_queue, workflows=[FloorWorkflow], activities=[floor_step])

    async def turn(conversation: str, number: int) -> object:
        said = Say(message_id=f"m{number}", text=QUESTION)
        return await conversations.say(conversation, said, fresh=number == 1)

    async def least(conversation: str, number: int) -> object:
        return await _say_to_floor(client, floor_queue, conversation, number)

    async def close_turn(conversation: str) -> object:
        return await conversations.close(conversation, "default")

    async def close_least(conversation: str) -> object:
        return await client.get_workflow_handle(conversation).signal(FloorWorkflow.close)

    rows: list[dict[str, Any]] = []
    async with scripted_worker(client, steps), floor:
        for speak, close in ((turn, close_turn), (least, close_least)):
            await _measure(client, speak, close, Load(2, 2))  # warm: caches, connections, the sandbox's imports
        for load in loads:
            pairs = [
                (await _measure(client, least, close_least, load), await _measure(client, turn, close_turn, load))
                for _ in range(runs)
            ]
            rows += _rows(load, pairs)
    return rows


async def _say_to_floor(client: Client, queue: str, conversation: str, number: int) -> object:
    start = WithStartWorkflowOperation(
        FloorWorkflow.run,
        id=conversation,
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    return await client.execute_update_with_start_workflow(
        FloorWorkflow.say, QUESTION, start_workflow_operation=start, id=f"m{number}"
    )


async def _measure(client: Client, speak: Speak, close: Callable[[str], Awaitable[object]], load: Load) -> Measured:
    names = [f"benchmark-{uuid.uuid4().hex}" for _ in range(load.conversations)]
    times: list[float] = []

    async def converse(name: str) -> None:
        for number in range(2, load.turns + 1):
            began = time.perf_counter()
            await speak(name, number)
            times.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(speak(name, 1) for name in names))
    before = await _size(client, names)
    began = time.perf_counter()
    await asyncio.gather(*map(converse, names))
    seconds = time.perf_counter() - began
    after = await _size(client, names)
    await asyncio.gather(*map(close, names))
    turns = len(times)
    return Measured(times, turns / seconds, (after[0] - before[0]) / turns, (after[1] - before[1]) / turns)


async def _size(client: Client, names: Sequence[str]) -> tuple[int, int]:
    """Events of all these histories, and bytes, as the server counts them."""
    described = await asyncio.gather(*(client.get_workflow_handle(name).describe() for name in names))
    infos = [one.raw_description.workflow_execution_info for one in described]
    return sum(info.history_length for info in infos), sum(info.history_size_bytes for info in infos)


def _rows(load: Load, pairs: Sequence[tuple[Measured, Measured]]) -> list[dict[str, Any]]:
    floors = [floor for floor, _ in pairs]
    return [
        _row(shape, load, runs, floors) for shape, runs in (("floor", floors), ("turn", [turn for _, turn in pairs]))
    ]


def _row(shape: str, load: Load, runs: Sequence[Measured], floors: Sequence[Measured]) -> dict[str, Any]:
    beside = list(zip(runs, floors, strict=True))
    return {
        "shape": shape,
        "conversations": load.conversations,
        "turns_each": load.turns - 1,
        "p50_ms": spread([one.p(50) for one in runs], 1),
        "p95_ms": spread([one.p(95) for one in runs], 1),
        "turns_per_second": spread([one.turns_per_second for one in runs], 1),
        "events_per_turn": spread([one.events for one in runs], 1),
        "bytes_per_turn": spread([one.bytes for one in runs], 0),
        "to_floor": {
            "p50": spread([one.p(50) / floor.p(50) for one, floor in beside]),
            "turns_per_second": spread([one.turns_per_second / floor.turns_per_second for one, floor in beside]),
        },
    }


def table(result: dict[str, Any]) -> Table:
    title = f"A turn without its steps' work, median of {result['runs']}; × is against the floor"
    shown = Table("at once", "a turn is", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("p50 ms", "×", "p95 ms", "turns/s", "×", "events", "bytes"):
        shown.add_column(column, justify="right")
    names = {"floor": "one activity (floor)", "turn": "six steps"}
    for row in result["rows"]:
        figure = {key: value["median"] for key, value in row.items() if isinstance(value, dict) and "median" in value}
        shown.add_row(
            str(row["conversations"]),
            names[row["shape"]],
            f"{figure['p50_ms']:.0f}",
            f"{row['to_floor']['p50']['median']:.2f}",
            f"{figure['p95_ms']:.0f}",
            f"{figure['turns_per_second']:.0f}",
            f"{row['to_floor']['turns_per_second']['median']:.2f}",
            f"{figure['events_per_turn']:.0f}",
            f"{figure['bytes_per_turn']:,.0f}",
        )
    return shown
