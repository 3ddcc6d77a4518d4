"""What the Temporal SDK's core has to say is a line of the process's log, and tells no failure's words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

MAIN = """
import asyncio, logging, os, sys, threading, uuid
from temporalio import workflow
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from records.sdk_runtime import sdk_runtime
from settings.logs import configure_logs
from tests.support.ports import free_port
from settings.schema import LogSettings

@workflow.defn(name="Fails", sandboxed=False)
class Fails:
    @workflow.run
    async def run(self) -> None:
        raise ValueError("Dear Ms Miller")

class Heard(logging.Handler):
    said = asyncio.Event()
    def emit(self, record):
        if record.name == "temporalio.core":
            loop.call_soon_threadsafe(self.said.set)

async def main():
    global loop
    loop = asyncio.get_running_loop()
    configure_logs(LogSettings(format="json"), process="worker")
    logging.getLogger().addHandler(Heard())
    runtime = sdk_runtime(PrometheusConfig(bind_address=f"127.0.0.1:{free_port()}"))
    client = await Client.connect(sys.argv[1], runtime=runtime)
    queue = f"core-{uuid.uuid4().hex}"
    async with Worker(client, task_queue=queue, workflows=[Fails], workflow_runner=UnsandboxedWorkflowRunner()):
        run = await client.start_workflow("Fails", id=queue, task_queue=queue)
        await asyncio.wait_for(Heard.said.wait(), 30)
        await run.terminate()
    sys.stderr.flush()
    os._exit(0)  # threads of the bridge may crash an interpreter that goes down with them (see cli/)

asyncio.run(main())
"""


def test_a_failed_workflow_task_is_told_without_the_exceptions_words(
    temporal: WorkflowEnvironment, repository: Path
) -> None:
    """On standard error, as JSON, with its run and the process."""
    address = temporal.client.service_client.config.target_host
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, address], capture_output=True, text=True, check=True, cwd=repository, timeout=60
    )
    assert ended.stdout == ""
    assert "Miller" not in ended.stderr
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {line["process"] for line in lines} == {"worker"}
    failing, *_ = [line for line in lines if line["logger"] == "temporalio.core"]
    assert (failing["event"], failing["level"]) == ("Failing workflow task", "warning")
    assert failing["run_id"]
