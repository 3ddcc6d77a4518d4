"""What protection costs: a turn sealed and stored outside against the same in clear; the audit's rows; looking at them.

Turns are the six steps that do nothing, on one real server with a file database, the shapes one after the other in
every run. Rows are those of an answer of some hundred characters; a plain insert is the same row in the same kind of
transaction, without chain, seal, index and signature.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.client import Client

from benchmarks.figures import spread
from benchmarks.shapes import Shape, file_server, turn_shape
from benchmarks.turn import Load, measure
from knowledge_base.terms import terms
from records.audit import AuditLog
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import connect_database, migrate, writing
from records.plugin import parley_plugin
from records.protection import Protection, open_protection
from records.signing import Signer
from records.tables import interaction_logs
from records.tenant_keys import LocalKeys
from settings.schema import EncryptionSettings, ExternalSettings, Settings
from tests.records.postgres import binaries, postgres
from tests.records.rows import a_row

__all__ = ["run", "table"]

REASONING = "The customer asks how long they have, and the passage says thirty days. "
SIZES = {"": 0, "64 KB of reasoning": 65_536}
WAYS = {"plain": "in clear", "sealed": "sealed", "outside": "sealed, long ones outside"}
LEVELS = ("plain insert", "chain", "chain, sealed", "all: words and checkpoints too")


async def run(*, quick: bool = False) -> dict[str, Any]:
    turns, runs = (3, 1) if quick else (20, 10)
    rows = 20 if quick else 2000
    with tempfile.TemporaryDirectory() as folder:
        found = {"turns": await _turns(Path(folder), turns, runs), "runs": runs, "rows": rows, "audit": {}}
        for name, database in _databases(Path(folder)).items():
            async with database() as url:
                found["audit"][name] = await _audit(url, Path(folder) / name, rows)
    return found


# turns ----------------------------------------------------------------------------------------------


async def _turns(folder: Path, turns: int, runs: int) -> list[dict[str, Any]]:
    sealed, outside = await _protection(folder / "a", "none"), await _protection(folder / "b", "local")
    async with await file_server(folder / "temporal.db") as environment, AsyncExitStack() as stack:
        shapes: dict[tuple[str, str], Shape] = {}
        for size, length in SIZES.items():
            reasoning = (REASONING * (length // len(REASONING) + 1))[:length]
            for way, protection in (("plain", None), ("sealed", sealed), ("outside", outside)):
                address = environment.client.service_client.config.target_host
                client = await Client.connect(address, plugins=[parley_plugin(protection=protection)])
                keys = protection.keys if protection else None
                name = f"{way}-{length}"
                shapes[size, way] = await turn_shape(client, stack, name, keys=keys, reasoning=reasoning)
        for shape in shapes.values():
            await measure(environment.client, shape, Load(2, 2))  # warm: caches, connections, imports
        measured = {place: [] for place in shapes}
        for _ in range(runs):
            for place, shape in shapes.items():
                measured[place].append(await measure(environment.client, shape, Load(1, turns)))
    return [
        {
            "size": size,
            "way": way,
            "p50_ms": spread([one.p(50) for one in each], 1),
            "to_plain": spread(
                [one.p(50) / plain.p(50) for one, plain in zip(each, measured[size, "plain"], strict=True)]
            ),
            "added_ms": spread(
                [one.p(50) - plain.p(50) for one, plain in zip(each, measured[size, "plain"], strict=True)], 2
            ),
            "cpu_ms": spread([sum(one.cpu) for one in each], 1),
            "cpu_to_plain": spread(
                [sum(one.cpu) / sum(plain.cpu) for one, plain in zip(each, measured[size, "plain"], strict=True)]
            ),
            "bytes_per_turn": spread([one.bytes for one in each], 0),
        }
        for (size, way), each in measured.items()
    ]


async def _protection(folder: Path, store: Any) -> Protection:
    await asyncio.to_thread(folder.mkdir)
    given = EncryptionSettings(provider="local", external=ExternalSettings(store=store))
    await migrate(f"sqlite+aiosqlite:///{folder / 'records.db'}")
    found = open_protection(Settings(data=folder, encryption=given))
    assert found is not None
    return found


# the audit ------------------------------------------------------------------------------------------


def _databases(folder: Path) -> dict[str, Callable[[], Any]]:
    """PostgreSQL where it is on this machine."""

    @asynccontextmanager
    async def sqlite() -> AsyncGenerator[str]:
        yield f"sqlite+aiosqlite:///{folder / 'audit.db'}"

    @asynccontextmanager
    async def server() -> AsyncGenerator[str]:
        programs = binaries()
        assert programs is not None
        with postgres(programs) as url:
            engine = create_async_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                await connection.exec_driver_sql("CREATE DATABASE protection")
            await engine.dispose()
            yield f"{url}/protection"

    return {"SQLite": sqlite} | ({"PostgreSQL": server} if binaries() else {})


async def _audit(url: str, folder: Path, rows: int) -> dict[str, Any]:
    await migrate(url)
    engine = connect_database(url)
    try:
        keys = DataKeys(engine, LocalKeys(folder / "site.keys", make=True))
        signer = Signer.open(Settings(data=folder))
        logs = {
            "chain": AuditLog(engine),
            "chain, sealed": AuditLog(engine, keys),
            LEVELS[-1]: AuditLog(engine, keys, words=AuditWords(engine, terms, keys), signer=signer),
        }
        found = {"plain insert": await _plain_inserts(engine, rows)}
        for name, audit in logs.items():
            await audit.append(_row(name, 0))
            began = time.perf_counter()
            for turn in range(1, rows + 1):
                await audit.append(_row(name, turn))
            found[name] = rows / (time.perf_counter() - began)
        began = time.perf_counter()
        problems = await logs[LEVELS[-1]].verify(_tenant(LEVELS[-1]))
        seconds = time.perf_counter() - began
        assert not problems
        return {"rows_per_second": found, "verified_per_second": (rows + 1) / seconds}
    finally:
        await engine.dispose()


async def _plain_inserts(engine: AsyncEngine, rows: int) -> float:
    began = time.perf_counter()
    for turn in range(1, rows + 1):
        columns = _row("plain insert", turn).to_columns()
        more = {"position": turn, "previous_hash": "0" * 64, "hash": "0" * 64, "data_key": None}
        async with writing(engine) as connection:
            await connection.execute(interaction_logs.insert().values({**columns, **more}))
    return rows / (time.perf_counter() - began)


def _tenant(level: str) -> str:
    return f"level-{LEVELS.index(level)}"


def _row(level: str, turn: int) -> Any:
    return a_row(tenant=_tenant(level), conversation=f"{_tenant(level)}-{turn}", reasoning=REASONING * 4)


# the table ------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> Group:
    title = f"A turn without its steps' work, median of {result['runs']}; × is against the same in clear"
    turns = Table("a turn is", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("p50 ms", "×", "added ms", "CPU ms", "×", "bytes in history"):
        turns.add_column(column, justify="right")
    for row in result["turns"]:
        name = ", ".join(filter(None, (WAYS[row["way"]], row["size"])))
        turns.add_row(
            name,
            f"{row['p50_ms']['median']:.1f}",
            f"{row['to_plain']['median']:.2f}",
            f"{row['added_ms']['median']:+.2f}",
            f"{row['cpu_ms']['median']:.1f}",
            f"{row['cpu_to_plain']['median']:.2f}",
            f"{row['bytes_per_turn']['median']:,.0f}",
        )
    return Group(turns, _audit_table(result["audit"], result["rows"]))


def _audit_table(audit: dict[str, Any], rows: int) -> Table:
    title = f"The audit: rows a second, one writer, {rows} rows"
    shown = Table("", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for name in audit:
        shown.add_column(name, justify="right")
        shown.add_column("×", justify="right")
    for level in LEVELS:
        shown.add_row(level, *_cells([each["rows_per_second"] for each in audit.values()], level))
    verified = [cell for each in audit.values() for cell in (f"{each['verified_per_second']:,.0f}", "")]
    shown.add_row("verified", *verified)
    return shown


def _cells(figures: Sequence[dict[str, float]], level: str) -> list[str]:
    return [cell for each in figures for cell in (f"{each[level]:,.0f}", f"{each[level] / each['plain insert']:.2f}")]
