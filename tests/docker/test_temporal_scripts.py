"""docker/temporal-*.sh: the namespace script against a real server, the schema script against a recording tool."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from pathlib import Path

import yaml
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.testing import WorkflowEnvironment

from tests.support.servers import executable
from workflows.names import SEARCH_ATTRIBUTES


async def _run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(executable('temporal')).parent}{os.pathsep}{os.environ['PATH']}"
    return await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", script],
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_namespace_is_made_once(repository: Path, temporal: WorkflowEnvironment) -> None:
    """With the retention asked for and every search attribute that workflows set; a second run changes nothing."""
    script = repository / "docker" / "temporal-namespace.sh"
    address = temporal.client.service_client.config.target_host
    for _ in range(2):
        ended = await _run(script, TEMPORAL_ADDRESS=address, NAMESPACE="made-by-script", RETENTION="72h")
        assert ended.returncode == 0, ended.stderr
    client = temporal.client
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="made-by-script"))
    assert described.config.workflow_execution_retention_ttl.ToTimedelta().total_seconds() == 72 * 3600
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="made-by-script")
    )
    assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)


async def test_an_absent_server_fails_the_script(repository: Path) -> None:
    """So that compose starts it again."""
    ended = await _run(repository / "docker" / "temporal-namespace.sh", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert ended.returncode != 0


async def test_both_databases_get_their_schema(repository: Path, tmp_path: Path) -> None:
    """Made, versioned and brought up to date, in this order, each from its own folder."""
    tool, calls = tmp_path / "temporal-sql-tool", tmp_path / "calls"
    tool.write_text(f'#!/bin/sh\necho "$*" >> {shlex.quote(str(calls))}\n')
    tool.chmod(0o755)
    ended = await _run(
        repository / "docker" / "temporal-schema.sh",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        POSTGRES_SEEDS="temporal-db",
        POSTGRES_USER="temporal",
    )
    assert ended.returncode == 0, ended.stderr
    common = "--plugin postgres12 --ep temporal-db -p 5432 -u temporal"
    versioned = "/etc/temporal/schema/postgresql/v12/{}/versioned"
    assert calls.read_text().splitlines() == [
        f"{common} --db {database} {what}"
        for database, folder in (("temporal", "temporal"), ("temporal_visibility", "visibility"))
        for what in ("create", "setup-schema -v 0.0", f"update-schema -d {versioned.format(folder)}")
    ]


def test_dynamic_config_is_as_the_server_reads_it(repository: Path) -> None:
    """Names with lists of values, and the timers as every other test has them."""
    given = yaml.safe_load((repository / "docker" / "temporal-dynamic-config.yaml").read_text("utf-8"))
    assert given == {
        "history.timerProcessorMaxTimeShift": [{"value": "10ms"}],
        "history.maxInFlightUpdatePayloads": [{"value": 2_000_000}],
        "history.maxInFlightUpdates": [{"value": 200}],
    }
