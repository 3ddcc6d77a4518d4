"""The folder of the index is taken away, damaged, put back and built again, under workers that go on running."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.faults.trouble import QUESTION, away, doctor, failing, logged, parley
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stood"), pytest.mark.timeout(400)]


def _snapshot(site: Site) -> Path:
    knowledge = site.layout.knowledge
    return knowledge / "snapshots" / (knowledge / "current").read_text().strip()


def _lines(site: Site) -> int:
    return len([each for each in logged(site, "dialogue") if each.get("event") == "snapshot only in memory"])


@pytest.mark.full
async def test_a_worker_goes_on_with_the_snapshot_it_has_loaded(stood: Site) -> None:
    """Turns are answered as before; one line of the log and the doctor say what is gone and what to do."""
    before, lines = await stood.say(stood.new(), QUESTION, "m1", say={"seed": 1}), _lines(stood)
    with away(_snapshot(stood)):
        for _ in range(2):
            reply = await stood.say(stood.new(), QUESTION, "m1", say={"seed": 1})
            assert (reply.answer, reply.snapshot) == (before.answer, before.snapshot)
        (line,) = await doctor(stood, "knowledge")
    assert _lines(stood) == lines + 1
    assert not line.ok
    assert "is missing" in line.found
    assert "parley kb add" in line.do
    (line,) = await doctor(stood, "knowledge")
    assert line.ok


@pytest.mark.full
async def test_a_worker_that_has_not_loaded_it_waits_and_goes_on_when_it_is_back(stood: Site) -> None:
    """The worker starts all the same, and answers what needs no index; a turn that needs it is attempted again with a
    fault that names the folder, and answered without another restart."""
    conversation, snapshot = stood.new(), _snapshot(stood)
    with away(snapshot):
        stood.up.supervisor.kill("dialogue")
        pid = await stood.up.supervisor.ready("dialogue")
        assert (await stood.say(stood.new(), "Hello!", "m1")).verdict in ("pass", "template")
        said = asyncio.create_task(stood.say(conversation, QUESTION, "m1"))
        failure = await failing(stood, conversation, "retrieve_knowledge")
    assert failure.type == "knowledge-missing"
    assert f"{snapshot.parent}: snapshot {snapshot.name[:12]}… is missing; put its folder back, or" in failure.message
    assert "\n" not in failure.message
    reply = await asyncio.wait_for(said, 100)
    assert (reply.verdict, reply.snapshot) == ("pass", snapshot.name)
    assert stood.up.supervisor.pids["dialogue"] == pid
    assert len(await stood.rows(conversation)) == 1


@pytest.mark.full
async def test_without_the_folder_a_turn_ends_until_it_is_back(stood: Site) -> None:
    """It does not wait for ever: after the attempts of the settings the caller gets the text for a failure, with one
    row that says why. Putting the folder back is enough."""
    conversation, snapshot = stood.new(), _snapshot(stood)
    with away(stood.layout.knowledge):
        said = asyncio.create_task(stood.say(conversation, QUESTION, "m1"))
        failure = await failing(stood, conversation, "retrieve_knowledge")
        (line,) = await doctor(stood, "knowledge")
        reply = await asyncio.wait_for(said, 100)
    assert failure.type == "knowledge-missing"
    assert failure.message.startswith(f"{stood.layout.knowledge}: no snapshot is current; put documents in with")
    assert not line.ok
    assert "parley kb add" in line.do
    (row,) = await stood.rows(conversation)
    assert (reply.state, reply.verdict, row.verdict) == ("done", "failed", "failed")
    assert reply.answer
    assert reply.answer == row.output_text
    assert "knowledge-missing" not in reply.answer
    assert "retrieve_knowledge: knowledge-missing: " in row.note
    again = await stood.say(conversation, QUESTION, "m2")
    assert (again.verdict, again.snapshot) == ("pass", snapshot.name)


@pytest.mark.full
async def test_an_index_that_is_lost_is_built_again_while_the_site_runs(stood: Site) -> None:
    """`parley kb add` with the same documents gives the same snapshot; the next turn is answered from it."""
    conversation, snapshot = stood.new(), _snapshot(stood)
    shutil.rmtree(stood.layout.knowledge)
    said = asyncio.create_task(stood.say(conversation, QUESTION, "m1"))
    assert (await failing(stood, conversation, "retrieve_knowledge")).type == "knowledge-missing"
    built = await parley(stood, "kb", "add", *map(str, stood.settings.knowledge.sources))
    assert built.code == 0, built.errors
    await asyncio.wait_for(said, 100)
    again = await stood.say(conversation, QUESTION, "m2")
    assert (again.verdict, again.snapshot) == ("pass", snapshot.name)


async def test_a_damaged_pointer_fails_the_turn_at_once(stood: Site) -> None:
    """What is damaged does not mend itself in half a minute, so it is not attempted again."""
    conversation, pointer = stood.new(), stood.layout.knowledge / "current"
    before = pointer.read_bytes()
    pointer.write_text("nothing of the kind")
    reply = await asyncio.wait_for(stood.say(conversation, QUESTION, "m1"), 100)
    assert reply.verdict == "failed"
    assert f"retrieve_knowledge: knowledge-corrupt: {pointer}: names no snapshot; build it again" in reply.note
    assert len(await stood.rows(conversation)) == 1
    failed = [each["attempt"] for each in logged(stood, "dialogue", conversation) if each["event"] == "step failed"]
    assert failed == [1]
    pointer.write_bytes(before)
    assert (await stood.say(conversation, QUESTION, "m2")).verdict == "pass"
