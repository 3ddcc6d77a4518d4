"""A scripted site on a queue of its own: the real workflows and a real server, with the steps' results chosen."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.support.scripted_steps import ScriptedSteps, scripted_worker

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """What a finished process printed, and its exit code."""

    code: int
    out: str
    err: str


async def run(*command: str) -> Ended:
    """Runs a command from the repository's root, while this process goes on serving its worker."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def python(script: str, *arguments: str) -> Ended:
    """Runs one of the example's files."""
    return await run(sys.executable, f"examples/python_service/{script}", *arguments)


@dataclass(frozen=True)
class ScriptedSite:
    steps: ScriptedSteps
    address: str

    @property
    def where(self) -> tuple[str, ...]:
        """The options with which an example finds this site."""
        return "--address", self.address, "--task-queue", self.steps.queue


@pytest.fixture
async def scripted(temporal: WorkflowEnvironment) -> AsyncIterator[ScriptedSite]:
    steps = ScriptedSteps(f"examples-{uuid.uuid4().hex[:8]}")
    async with scripted_worker(temporal.client, steps):
        yield ScriptedSite(steps, temporal.client.service_client.config.target_host)
