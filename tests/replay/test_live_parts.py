"""Conversations of which server and archive have a part, and those that go on while they are looked at."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update
from temporalio.testing import WorkflowEnvironment

from cli.main import run
from dialogue.faults import ContentMissing
from dialogue.messages import DialogueStart
from gateway.conversations import new_conversation_id
from records.archive import ArchivedRun, RunArchive
from records.database import writing
from records.tables import contents
from replay.chain import RecordedRun
from replay.histories import live
from replay.scan import Scan, of_archive, of_query, scan
from tests.replay.made import chain
from tests.replay.test_live import Speaker
from tests.replay.test_live import speaker as speaker
from tests.support.archive import archive as archive
from workflows.names import DIALOGUE_WORKFLOW


async def test_an_archived_run_that_is_damaged_costs_no_other(speaker: Speaker, archive: RunArchive) -> None:
    """What the server still has is whole whatever the archive lost."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", start={"turns_per_run": 1})
    whole = await live(speaker.client, name)
    await _damaged(archive, await archived(archive, whole.runs[0]))
    again = await live(speaker.client, name, archive=archive)
    assert [run.run_id for run in again.runs] == [run.run_id for run in whole.runs]
    assert again.problems == ()


async def test_what_the_archive_alone_had_is_named_and_the_others_shown(speaker: Speaker, archive: RunArchive) -> None:
    """Of a chain that the server has forgotten: once, however many runs name it; a scan tells it and goes on."""
    recorded, client = await chain("continued-as-new.1", "continued-as-new.2"), speaker.client
    kept = [await archived(archive, run) for run in recorded.runs]
    await _damaged(archive, kept[0])
    found = await live(client, recorded.workflow_id, archive=archive)
    assert [run.run_id for run in found.runs] == [kept[1].run_id]
    (problem,) = found.problems
    assert f"{kept[0].run_id[:8]} (archived): its history cannot be opened" in problem.message
    with pytest.raises(ContentMissing, match="cannot be opened"):
        await live(client, recorded.workflow_id, kept[0].run_id, archive=archive)
    done = await scan(of_archive(kept), client.data_converter, client=client, archive=archive)
    assert [each.state for each in done.results] == ["unchecked", "same"]


async def _damaged(archive: RunArchive, run: ArchivedRun) -> None:
    async with writing(archive._engine) as connection:
        await connection.execute(update(contents).where(contents.c.digest == run.digest).values(body=b"damaged"))


async def archived(archive: RunArchive, run: RecordedRun) -> ArchivedRun:
    at = datetime.fromtimestamp(run.started_at, UTC)
    of_it = {"run_id": run.run_id, "workflow_type": run.workflow_type, "tenant": "default", "status": "completed"}
    return await archive.archive(run.history(), **of_it, started=at, closed=at)


async def test_what_cannot_be_listed_is_told(skipping: WorkflowEnvironment) -> None:
    """This server has no visibility store: a run that was reopened or set back would not be known of."""
    name = new_conversation_id()
    start = DialogueStart(question="How long?")
    await skipping.client.start_workflow(DIALOGUE_WORKFLOW, start, id=name, task_queue="nobody")
    (problem,) = (await live(skipping.client, name)).problems
    assert "Temporal cannot list its runs" in problem.message


async def test_a_running_conversation_is_scanned_again_where_it_grew(speaker: Speaker, tmp_path: Path) -> None:
    """The server lists it with the length 0 while it runs, and with its own once it is closed."""
    name, client, state = new_conversation_id(), speaker.client, tmp_path / "state.jsonl"
    query = f"WorkflowId = '{name}'"

    async def scanned(*, closed: bool = False) -> tuple[int, Scan]:
        while [bool(each.key) for each in await of_query(client, query)] != [closed]:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)
        done = await scan(await of_query(client, query), client.data_converter, client=client, state=state)
        assert done.counts["same"] == 1, done.results
        return done.known, done

    await speaker.say(name, "How long?")
    known, first = await scanned()
    assert known == 0
    await speaker.say(name, "And in a shop?")
    known, second = await scanned()
    assert (known, second.results[0].turns) == (0, 2)
    assert second.events > first.events
    assert (await scanned())[0] == 1
    await speaker.core.close(name, "default")
    await client.get_workflow_handle(name).result()
    known, last = await scanned(closed=True)
    assert known == 0
    (found,) = await of_query(client, query)
    assert found.key.endswith(f":{last.events}")  # as the archive will name it
    assert (await scanned(closed=True))[0] == 1


async def test_records_that_are_not_there_may_hold_more(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the server has is shown, and that the archive could not be asked is told: exit code 4."""
    name, file = new_conversation_id(), tmp_path / "temporal.yaml"
    file.write_text(f"data: var\ntemporal: {{address: '{speaker.client.service_client.config.target_host}'}}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    await speaker.say(name, "How long?")
    assert await asyncio.to_thread(run, ["replay", "show", name]) == 4
    out, err = capsys.readouterr()
    assert "How long?" in out
    assert "records.db is not there" in err
