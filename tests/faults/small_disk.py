"""What is tried on a file system of its own that is really full: ``python -m tests.faults.small_disk DISK WHAT …``.

Prints what came of it as JSON in its last line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialogue.faults import KnowledgeFault, ModelFault, ParleyFault, RecordsUnavailable, TokenLogUnavailable
from tests.faults.trouble import QUESTION

STREAM = "conv-1/0001"


@contextlib.contextmanager
def filled(disk: Path, but: int = 0) -> Iterator[None]:
    """All room but so many bytes is taken, until the end."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - but))
    try:
        yield
    finally:
        filler.unlink()


async def records(disk: Path) -> dict[str, Any]:
    from records.audit import AuditLog
    from records.database import connect_database, migrate
    from records.token_log_sqlite import SqliteTokenLog
    from tests.records.rows import a_row

    url = f"sqlite+aiosqlite:///{disk / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    audit, log, told = AuditLog(engine), SqliteTokenLog(disk / "token_log.db"), dict[str, Any]()

    async def write(turn: int) -> None:
        assert (await audit.append(a_row(turn=turn, output_text="x" * 3000))).created

    # as in a site that runs: SQLite needs some room to open a file that nobody has open
    await log.publish(STREAM, "accepted", {})
    await write(1)
    written, published = 1, 0
    with filled(disk, but=100_000):
        try:
            while True:
                await log.publish(STREAM, "step", {"text": "x" * 3000})
                published += 1
        except TokenLogUnavailable as fault:
            told["token_log"] = fault.message
        try:
            while True:
                await write(written + 1)
                written += 1
        except RecordsUnavailable as fault:
            told["audit"] = fault.message
        told |= {"acknowledged": written, "rows": await audit.count()}
        told |= {"published": published + 1, "events": len(await log.read(STREAM))}
    await write(written + 1)
    after = await log.publish(STREAM, "final", {})
    told["after"] = [await audit.count() - written, after - published - 1]
    told["problems"] = len(await audit.verify())
    await log.close()
    await engine.dispose()
    return told


async def builds(disk: Path, checkpoint: str) -> dict[str, Any]:
    return {"knowledge": _knowledge(disk / "knowledge"), "model": _model(disk / "models", Path(checkpoint))}


def _rooms(largest: int) -> list[int]:
    """Bytes left: none, the least, more and more, and all but the last pages of what is needed."""
    return sorted({0, 4096, *(largest * share // 8 for share in range(1, 8)), largest - 8192, largest - 4096})


def _knowledge(folder: Path) -> list[str]:
    """The lines of the faults, one for each room that was not enough."""
    from knowledge_base.knowledge import KnowledgeBase
    from tests.knowledge_base.conftest import CARDS_EN, RETURNS_EN, HashEmbedder, write

    base = KnowledgeBase(folder, HashEmbedder())
    sources = folder.with_name("sources")
    first = base.build([write(sources, returns__en=RETURNS_EN)]).snapshot.id
    more = write(folder.with_name("more"), **{f"cards{n}": CARDS_EN.replace("8.50", str(n)) for n in range(40)})
    lines = list[str]()
    base.add([more])
    needed = sum(_size(file) for file in (folder / "snapshots").iterdir()) - _size(folder / "snapshots" / first)
    for room in _rooms(needed):
        shutil.rmtree(folder)
        base = KnowledgeBase(folder, HashEmbedder())
        base.build([sources])
        with filled(folder.parent, but=room):
            try:
                base.add([more])
            except KnowledgeFault as fault:
                lines.append(f"{fault.type}: {fault.message}")
            else:
                continue
            assert [file.name for file in (folder / "snapshots").iterdir()] == [first]
            assert not list(folder.glob(".current-*"))
            assert KnowledgeBase(folder, HashEmbedder()).search("refund", "en", threshold=0).snapshot == first
    assert base.add([more]).snapshot.documents == 41
    shutil.rmtree(folder)
    return lines


def _model(folder: Path, checkpoint: Path) -> list[str]:
    from model_runtime.prepare import prepare_model

    def prepare() -> None:
        prepare_model(str(checkpoint), name="tiny", method="int8", folder=folder)

    prepare()
    needed, lines = _size(folder / "tiny-int8"), list[str]()
    for room in _rooms(needed):
        shutil.rmtree(folder)
        with filled(folder.parent, but=room):
            try:
                prepare()
            except ModelFault as fault:
                lines.append(fault.message)
            else:
                continue
            assert not folder.exists() or [file.name for file in folder.iterdir()] == [".tiny-int8.lock"]
    prepare()
    return lines


def _size(folder: Path) -> int:
    """In whole pages, as a file system takes them."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())


async def site(disk: Path) -> dict[str, Any]:
    from tests.faults.conftest import SHORT
    from tests.support.site import bring_up_site

    async with bring_up_site(disk, SHORT) as site:
        told: dict[str, Any] = {"before": (await site.say(site.new(), QUESTION, "m1")).verdict}
        pids = dict(site.up.supervisor.pids)
        conversations = [site.new() for _ in range(12)]
        with filled(disk):
            saying = [asyncio.create_task(site.say(each, QUESTION, "m1")) for each in conversations]
            await asyncio.wait(saying, timeout=40)
        ended = await asyncio.gather(*saying, return_exceptions=True)
        told["refused"] = [each.type for each in ended if isinstance(each, ParleyFault)]
        told["answered"] = [each.verdict for each in ended if not isinstance(each, BaseException)]
        again = await asyncio.gather(*(site.say(each, QUESTION, "m1") for each in conversations))
        told["again"] = [each.verdict for each in again]
        told["rows"] = [len(await site.rows(each)) for each in conversations]
        told["same_processes"] = dict(site.up.supervisor.pids) == pids
        return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:]))))  # noqa: T201
