"""A gateway in a process of its own, in front of a scripted worker here: for clients that need a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from records.open_token_log import open_token_log
from settings.layout import Layout
from settings.load import load
from settings.schema import SERVICES
from tests.gateway.test_serve import running
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

__all__ = ["Served", "gateway_process"]

Served = tuple[str, ScriptedSteps]
"""The gateway's URL and the script of its worker."""


@asynccontextmanager
async def gateway_process(
    folder: Path, temporal: WorkflowEnvironment, repository: Path, gateway: str
) -> AsyncIterator[Served]:
    """``gateway``: its section of temporal.yaml, in one line. The tenants are ``default`` and ``open``."""
    config = folder / "temporal.yaml"
    config.write_text(
        f"temporal: {{address: '{temporal.client.service_client.config.target_host}'}}\n"
        f"gateway: {gateway}\n"
        "tenants: {default: {}, open: {stream: open}}\n"
        f"pools: {{all: {{serves: [{', '.join(SERVICES)}], task_queue: {folder.name}}}}}\n"
    )
    settings = load(config)
    token_log = open_token_log(settings.records, Layout.of(settings))
    steps = ScriptedSteps(folder.name, token_log=token_log)
    async with scripted_worker(temporal.client, steps), running(config, repository) as (_, ready):
        yield ready["url"], steps
    await token_log.close()
