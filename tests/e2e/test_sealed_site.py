"""A whole site that encrypts: what is asked and answered stands nowhere in clear, and is gone once its user is."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from temporalio.api.history.v1 import History

from records.archive import RunArchive
from records.content import ContentStore
from records.database import reading
from records.tables import workflow_keys
from tests.support.site import Site, bring_up_site
from workflows.names import KEEP_RECORDS_SCHEDULE

pytestmark = [pytest.mark.e2e, pytest.mark.full]

QUESTION = "How long do I have to send back the zebra-4711 shoes I bought online?"


@pytest.fixture(scope="module")
async def sealed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Long payloads stand outside of the histories."""
    external = {"store": "local", "threshold": 2048}
    changes = {"encryption": {"provider": "local", "accept_plain": False, "cache_seconds": 0, "external": external}}
    async with bring_up_site(tmp_path_factory.mktemp("sealed"), changes) as site:
        yield site


LOCKED = 4
"""What `parley replay` ends with where not all could be looked at."""


async def parley(site: Site, *words: str, code: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *words, stdout=PIPE, stderr=PIPE, env=site.environment
    )
    out, error = await process.communicate()
    assert process.returncode == code, error.decode()
    return out.decode() + error.decode()


def holding(folder: Path, words: bytes) -> list[str]:
    """The files below ``folder`` with these words in them; models and indices of documents hold none of a user's."""
    skipped = ("models", "knowledge", "cache")
    files = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in skipped)
    return [path.name for path in files if words in path.read_bytes()]


async def test_a_turn_is_nowhere_in_clear_and_can_be_proved_and_forgotten(sealed: Site, tmp_path: Path) -> None:
    """Databases of Temporal and of the records, token log, outside payloads, logs: not a word of it in any file."""
    asked = {"messages": [{"role": "user", "content": QUESTION}], "user": "ann", "conversation": "conv-sealed"}
    async with httpx.AsyncClient(base_url=sealed.gateway_url, timeout=120) as gateway:
        reply = (await gateway.post("/v1/chat", json=asked)).raise_for_status().json()
    assert reply["answer"]
    assert await asyncio.to_thread(holding, sealed.layout.data, b"zebra-4711") == []
    assert (await sealed.rows("conv-sealed"))[0].input_text == QUESTION
    assert "zebra-4711" in await parley(sealed, "transcript", "conv-sealed")
    file = tmp_path / "reply.json"
    file.write_text(json.dumps(reply))
    verify = ("audit", "receipt", "verify", str(file), "--question", QUESTION)
    assert "question and answer as given" in await parley(sealed, *verify)
    assert "whole" in await parley(sealed, "audit", "verify")
    await _archived_sealed(sealed)
    bundle = tmp_path / "incident.zip"
    await parley(sealed, "replay", "export", "conv-sealed", "--out", str(bundle))
    assert "zebra-4711" in await parley(sealed, "replay", "show", "conv-sealed", "--turn", "1")
    told = json.loads(await parley(sealed, "audit", "forget", "ann", "--yes", "--json"))
    assert (told["workflows"], told["ended"]) == (["conv-sealed"], ["conv-sealed"])
    assert [export["place"] for export in told["exports"]] == [str(bundle)]
    left = await parley(sealed, "replay", "show", "conv-sealed", code=LOCKED)
    assert "zebra-4711" not in left
    assert "destroyed when its user was forgotten" in left
    row = (await sealed.rows("conv-sealed"))[0]
    assert row.forgotten
    assert row.input_text == row.output_text == ""
    assert "whole" in await parley(sealed, "audit", "verify")


async def _archived_sealed(site: Site) -> None:
    """What the schedule archives of a closed run is what the server held: ciphertext, of bob's. All sweeps share a
    key."""
    asked = {"messages": [{"role": "user", "content": QUESTION}], "user": "bob", "conversation": "conv-kept"}
    async with httpx.AsyncClient(base_url=site.gateway_url, timeout=120) as gateway:
        (await gateway.post("/v1/chat", json=asked)).raise_for_status()
    await site.conversations.close("conv-kept", "default")
    await site.client.get_workflow_handle("conv-kept").result()
    schedule = site.client.get_schedule_handle(KEEP_RECORDS_SCHEDULE)
    archive = RunArchive(site.audit._engine, ContentStore(site.audit._engine))
    async with asyncio.timeout(60):
        while not (runs := await archive.find("conv-kept")):
            await schedule.trigger()
            await asyncio.sleep(1)  # what is searched is a moment behind, and a sweep that runs is not begun again
    sweeps = workflow_keys.c.workflow_id.startswith(f"{KEEP_RECORDS_SCHEDULE}-")
    async with reading(site.audit._engine) as connection:
        found = (await connection.execute(select(workflow_keys.c.key_id).where(sweeps))).scalars().all()
    assert len(set(found)) == 1
    kept = History(events=(await archive.history(runs[0])).events).SerializeToString()
    assert len(kept) > 10_000
    assert b"zebra-4711" not in kept
