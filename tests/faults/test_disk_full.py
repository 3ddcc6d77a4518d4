"""The disk is full: for a running site, for what builds the knowledge base and the model, and for real."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.faults.trouble import QUESTION, failing, no_room, parley
from tests.support.site import REPOSITORY, Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stood"), pytest.mark.timeout(400)]

TOO_LARGE = "File too large"  # what the kernel says where a process may not let a file grow


async def test_an_answer_that_cannot_be_recorded_is_returned_once_it_can(stood: Site) -> None:
    """The last step is attempted again until it is written: once. The caller waits for it and gets it."""
    conversation, worker = stood.new(), stood.up.supervisor.pids["dialogue"]
    body = {"messages": [{"role": "user", "content": QUESTION}], "conversation": conversation}
    async with httpx.AsyncClient(base_url=stood.gateway_url, timeout=150) as client:
        with no_room(worker):
            asked = asyncio.create_task(client.post("/v1/chat", json=body))
            failure = await failing(stood, conversation, "return_answer")
            assert not asked.done()
            assert not await stood.rows(conversation)
        answered = await asked
    assert failure.type == "records-unavailable"
    database = stood.layout.data / "records.db"
    assert failure.message.startswith(f"records.database: sqlite+aiosqlite:///{database} cannot be used: ")
    assert failure.message.endswith(". Make room on its disk: what waits is then written by itself.")
    assert "\n" not in failure.message
    assert answered.status_code == 200
    reply = answered.json()
    (row,) = await stood.rows(conversation)
    assert (reply["state"], reply["verdict"], reply["answer"]) == ("done", "pass", row.output_text)
    assert reply["steps"][-1]["attempt"] > 1
    assert stood.up.supervisor.pids["dialogue"] == worker
    assert not await stood.audit.verify()


async def test_tokens_that_cannot_be_logged_cost_the_stream_alone(stood: Site) -> None:
    """Where the GPU pool cannot write, the answer is made and returned in one attempt; the next turn streams again."""
    conversation = stood.new()
    with no_room(stood.up.supervisor.pids["gpu"]):
        reply = await asyncio.wait_for(stood.say(conversation, QUESTION, "m1"), 100)
    assert (reply.state, reply.verdict) == ("done", "pass")
    assert {step.attempt for step in reply.steps} == {1}
    (row,) = await stood.rows(conversation)
    assert not row.record
    kinds = [event.kind for event in await stood.token_log.read(f"{conversation}/0001")]
    assert "token" not in kinds
    assert kinds[-1] == "final"
    again = await stood.say(conversation, QUESTION, "m2")
    assert (await stood.rows(conversation))[-1].record
    kinds = [event.kind for event in await stood.token_log.read(f"{conversation}/0002")]
    assert "token" in kinds
    assert again.verdict == "pass"


@pytest.mark.full
async def test_documents_that_find_no_room_leave_readers_what_they_have(stood: Site, tmp_path: Path) -> None:
    """`parley kb add` ends with one line; turns go on with the old snapshot; with room the same command works."""
    document = tmp_path / "parking.md"
    document.write_text("# Parking\n\nVisitors may park for 3 hours behind the house.\n")
    before = await stood.say(stood.new(), QUESTION, "m1")
    full = await parley(stood, "kb", "add", str(document), fsize=20_000)
    assert full.code == 1
    (line,) = full.errors.splitlines()[-1:]
    assert line.startswith(f"{stood.layout.knowledge}: cannot be written ({TOO_LARGE}). Make room on its disk")
    assert "Traceback" not in full.errors
    assert not list((stood.layout.knowledge / "snapshots").glob(".building-*"))
    assert (await stood.say(stood.new(), QUESTION, "m1")).snapshot == before.snapshot
    added = await parley(stood, "kb", "add", str(document))
    assert added.code == 0, added.errors
    assert (await stood.say(stood.new(), QUESTION, "m1")).snapshot != before.snapshot
    assert (await parley(stood, "kb", "remove", "parking.md")).code == 0
    assert (await stood.say(stood.new(), QUESTION, "m1")).snapshot == before.snapshot


async def test_a_model_that_finds_no_room_leaves_nothing_half_built(
    stood: Site, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """`parley prepare` ends with one line, wherever the room ended; with room the same command works."""
    settings = {
        "PARLEY_DATA": str(tmp_path / "var"),
        "PARLEY_MODEL__SOURCE": str(tiny_checkpoint),
        "PARLEY_MODEL__NAME": "tiny",
        "PARLEY_MODEL__WIDTHS": "[256]",
        "PARLEY_KNOWLEDGE__SOURCES": "[]",
    }
    models = tmp_path / "var" / "models"
    tokenizer = (tiny_checkpoint / "tokenizer.json").stat().st_size
    for most in (1000, tokenizer - 1):
        full = await parley(stood, "prepare", fsize=most, **settings)
        assert full.code == 1
        (line,) = full.errors.splitlines()
        assert line.startswith(f"{models}: the model cannot be written ({TOO_LARGE}). Make room on its disk")
        assert [path.name for path in models.iterdir()] == [".tiny-int8.lock"]
    prepared = await parley(stood, "prepare", **settings)
    assert prepared.code == 0, prepared.errors
    assert (models / "tiny-int8" / "manifest.json").is_file()


# a disk that is really full ---------------------------------------------------------------------------


def on_a_small_disk(tmp_path: Path, kilobytes: int, *arguments: str) -> dict[str, object]:
    """Runs ``tests/faults/small_disk.py`` where ``disk`` below ``tmp_path`` is a file system of that size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={kilobytes}k none {disk}"
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no file system of our own can be mounted here: {tried.stderr.strip()}")
    command = f"{mount} && exec {sys.executable} -m tests.faults.small_disk {disk} {' '.join(arguments)}"
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], cwd=REPOSITORY, env=os.environ, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


async def test_a_really_full_disk_loses_and_doubles_no_row(tmp_path: Path) -> None:
    """ENOSPC: what was acknowledged is there, what was refused is told so, and both go on when there is room."""
    told = await asyncio.to_thread(on_a_small_disk, tmp_path, 1024, "records")
    assert told["rows"] == told["acknowledged"]
    assert "database or disk is full. Make room on its disk: what waits is then written by itself." in told["audit"]
    assert "database or disk is full. Make room on its disk: until then answers come without" in told["token_log"]
    assert told["events"] == told["published"]
    assert told["after"] == [1, 1]
    assert told["problems"] == 0


@pytest.mark.full
async def test_a_really_full_disk_keeps_the_snapshot_and_makes_no_half_model(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """ENOSPC at every place of a build, down to the last bytes: one clear line, nothing left, the old one current."""
    told = await asyncio.to_thread(on_a_small_disk, tmp_path, 5000, "builds", str(tiny_checkpoint))
    assert len(told["knowledge"]) > 3
    assert all(line.startswith("knowledge: ") for line in told["knowledge"])
    assert all("cannot be written (No space left on device). Make room" in line for line in told["knowledge"])
    assert len(told["model"]) > 3
    assert all("cannot be written (No space left on device). Make room" in line for line in told["model"])


@pytest.mark.full
async def test_a_whole_site_on_a_full_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """Temporal's database, the records, the streams and the logs, all at once: a turn that was begun ends, one that is
    refused is refused with a fault that says to come again, and nothing has to be restarted."""
    told = await asyncio.to_thread(on_a_small_disk, tmp_path, 65_536, "site")
    assert told["before"] == "pass"
    assert set(told["refused"]) <= {"records-unavailable"}
    assert told["answered"] == ["pass"] * len(told["answered"])
    assert len(told["answered"]) + len(told["refused"]) == 12
    assert told["rows"] == [1] * 12
    assert told["again"] == ["pass"] * 12
    assert told["same_processes"]
