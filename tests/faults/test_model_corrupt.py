"""Files of the model are damaged on disk while the site runs, and mended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.faults.trouble import QUESTION, doctor, engine_of, logged, until
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stood"), pytest.mark.timeout(400)]

WEIGHTS = "weights-001.safetensors"


def flipped(path: Path) -> None:
    """One bit in the middle, in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def truncated(path: Path) -> None:
    """In place: whoever had it mapped would die of it."""
    os.truncate(path, path.stat().st_size // 2)


def removed(path: Path) -> None:
    path.unlink()


DAMAGES: list[tuple[str, Callable[[Path], None], str, str]] = [
    # file, what becomes of it, the fault, its words
    (WEIGHTS, flipped, "model-corrupt", "differs from its manifest (SHA-256): delete the folder"),
    (WEIGHTS, truncated, "model-corrupt", "where its manifest says"),
    (WEIGHTS, removed, "model-corrupt", "is missing: delete the folder"),
    ("manifest.json", removed, "model-missing", "is missing: this model was not prepared; run `parley prepare`"),
]


@pytest.fixture
async def folder(stood: Site) -> AsyncIterator[Path]:
    """The model's own folder, which is whole again afterwards; an engine runs that was started from it."""
    folder = stood.layout.model(stood.settings.model)
    kept = {path: path.read_bytes() for path in (folder / WEIGHTS, folder / "manifest.json")}
    os.kill(engine_of(stood).pid, signal.SIGKILL)
    assert (await stood.say(stood.new(), QUESTION, "m1")).verdict == "pass"
    yield folder
    for path, content in kept.items():
        path.write_bytes(content)


async def test_a_damaged_model_fails_its_turns_until_it_is_mended(stood: Site, folder: Path) -> None:
    """A running engine goes on. One that has to be started again says which file is wrong and what to do: each turn
    ends at once with the site's text and one row, the worker stays, and the first turn after the repair is answered."""
    whole = (folder / WEIGHTS).read_bytes()
    manifest = (folder / "manifest.json").read_bytes()
    before = await stood.say(stood.new(), QUESTION, "m1", say={"seed": 1})
    pid = stood.up.supervisor.pids["gpu"]
    for _, damage, *_ in DAMAGES[:2]:
        damage(folder / WEIGHTS)
        assert (await stood.say(stood.new(), QUESTION, "m1", say={"seed": 1})).answer == before.answer
    os.kill(engine_of(stood).pid, signal.SIGKILL)
    for file, damage, type_, words in DAMAGES:
        (folder / WEIGHTS).write_bytes(whole)
        (folder / "manifest.json").write_bytes(manifest)
        damage(folder / file)
        await _fails(stood, folder / file, type_, words)
        (line,) = await doctor(stood, "model")
        assert not line.ok
        assert str(folder / file) in line.found
        assert "parley prepare" in line.do
    (folder / "manifest.json").write_bytes(manifest)
    after = await asyncio.wait_for(stood.say(stood.new(), QUESTION, "m1", say={"seed": 1}), 100)
    assert (after.verdict, after.answer) == (before.verdict, before.answer)
    assert stood.up.supervisor.pids["gpu"] == pid


async def _fails(site: Site, file: Path, type_: str, words: str) -> None:
    conversation = site.new()
    reply = await asyncio.wait_for(site.say(conversation, QUESTION, "m1"), 100)
    (row,) = await site.rows(conversation)
    assert (reply.state, reply.verdict, row.verdict) == ("done", "failed", "failed")
    assert reply.answer == row.output_text
    assert str(file) not in reply.answer
    assert row.note.startswith(f"generate_answer: {type_}: {file} ")
    assert words in row.note
    assert "\n" not in row.note
    faults = [line["fault"] for line in logged(site, "gpu", conversation) if line.get("event") == "step failed"]
    assert faults.count(type_) == 1
    assert set(faults) <= {type_, "engine-lost"}  # the first turn finds that the engine is gone


@pytest.mark.full
async def test_a_worker_that_cannot_load_its_model_says_why_and_is_started_again(stood: Site, folder: Path) -> None:
    """One line of its log, again with every start; what was asked meanwhile is answered once the file is whole."""
    whole = (folder / WEIGHTS).read_bytes()
    flipped(folder / WEIGHTS)
    log = stood.layout.logs / "gpu.log"
    words = (
        f"{folder / WEIGHTS} differs from its manifest (SHA-256): delete the folder {folder} and run `parley prepare`"
    )

    def plain() -> list[str]:
        """What is no line of the running worker, but its last words."""
        return [line for line in log.read_text().splitlines() if not line.startswith("{")]

    async def said_so() -> bool | None:
        return len(plain()) >= 2 or None

    stood.up.supervisor.kill("gpu")
    said = asyncio.create_task(stood.say(stood.new(), QUESTION, "m1"))
    await until(said_so, 120)
    assert set(plain()) == {words}
    (folder / WEIGHTS).write_bytes(whole)
    await asyncio.wait_for(stood.up.supervisor.ready("gpu"), 120)
    assert (await asyncio.wait_for(said, 100)).verdict == "pass"
