"""Each place of a workflow in which Temporal keeps a text: none stands in its database in clear."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from records.database import migrate
from records.plugin import parley_plugin
from records.protection import open_protection
from settings.schema import EncryptionSettings, Settings
from tests.support.servers import DYNAMIC_CONFIG_ARGS, executable

PLACES = (
    "input", "memo", "upserted memo", "static summary", "static details", "signal", "update", "update result",
    "update failure", "activity input", "activity result", "activity summary", "timer summary", "heartbeat",
    "attempt message", "attempt detail", "final message", "local activity", "child input", "child result",
    "continued input", "workflow failure",
)  # fmt: skip


def plain_stack_of_zebra(message: str, detail: str) -> None:
    raise ApplicationError(message, detail)


def sealed_stack_of_zebra(message: str, detail: str) -> None:
    raise ApplicationError(message, detail)


STACKS = {"plain": plain_stack_of_zebra, "sealed": sealed_stack_of_zebra}


def at(who: str, place: str) -> str:
    """What is said there; no other text of the test holds it."""
    return f"{who}-zebra at {place}."


@workflow.defn(sandboxed=False)
class Child:
    @workflow.run
    async def run(self, who: str, said: str) -> str:
        assert said == at(who, "child input")
        return at(who, "child result")


@workflow.defn(sandboxed=False)
class Everywhere:
    """Says something in each place, goes on as new, and fails."""

    def __init__(self) -> None:
        self._ends = False

    @workflow.run
    async def run(self, who: str, said: str) -> None:
        brief = timedelta(seconds=20)
        once = RetryPolicy(maximum_attempts=1)
        if said == at(who, "continued input"):
            raise ApplicationError(at(who, "workflow failure"))
        workflow.upsert_memo({"more": at(who, "upserted memo")})
        await workflow.execute_activity(
            work, args=[who, at(who, "activity input")], summary=at(who, "activity summary"),
            start_to_close_timeout=brief, heartbeat_timeout=brief,
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=1)),
        )  # fmt: skip
        try:
            await workflow.execute_activity(fails, who, start_to_close_timeout=brief, retry_policy=once)
        except Exception:
            workflow.logger.debug("as it should")
        await workflow.execute_local_activity(echo, at(who, "local activity"), start_to_close_timeout=brief)
        await workflow.execute_child_workflow(Child.run, args=[who, at(who, "child input")])
        await workflow.sleep(0.001, summary=at(who, "timer summary"))
        await workflow.wait_condition(lambda: self._ends)
        workflow.continue_as_new(args=[who, at(who, "continued input")])

    @workflow.signal
    def end(self, said: str) -> None:
        self._ends = True

    @workflow.update
    async def say(self, who: str, said: str) -> str:
        if said == at(who, "update failure"):
            raise ApplicationError(said)
        return at(who, "update result")


@activity.defn
async def work(who: str, said: str) -> str:
    activity.heartbeat(at(who, "heartbeat"))
    if activity.info().attempt == 1:
        STACKS[who](at(who, "attempt message"), at(who, "attempt detail"))
    beating.set()
    await looked.wait()
    return at(who, "activity result")


@activity.defn
async def fails(who: str) -> None:
    raise ApplicationError(at(who, "final message"))


@activity.defn
async def echo(said: str) -> str:
    return said


beating, looked = asyncio.Event(), asyncio.Event()


async def everything_said(client: Client, who: str) -> bytes:
    """Runs it; returns what the server told of it while its activity ran, which its database holds no longer."""
    beating.clear()
    looked.clear()
    queue, id_ = f"everywhere-{who}", f"w-{uuid.uuid4().hex}"
    async with Worker(
        client, task_queue=queue, workflows=[Everywhere, Child], activities=[work, fails, echo], debug_mode=True
    ):
        start = WithStartWorkflowOperation(
            Everywhere.run, args=[who, at(who, "input")], id=id_, task_queue=queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL, memo={"note": at(who, "memo")},
            static_summary=at(who, "static summary"), static_details=at(who, "static details"),
        )  # fmt: skip
        await client.execute_update_with_start_workflow(
            Everywhere.say, args=[who, at(who, "update")], start_workflow_operation=start
        )
        await beating.wait()
        handle = await start.workflow_handle()
        pending = (await handle.describe()).raw_description.SerializeToString()
        looked.set()
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(Everywhere.say, args=[who, at(who, "update failure")])
        await handle.signal(Everywhere.end, at(who, "signal"))
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
        assert at(who, "workflow failure") in str(ended.value.cause)
    return pending


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_no_place_of_a_workflow_is_left_in_clear(tmp_path: Path) -> None:
    """Without encryption each of these texts stands in the server's file or in what it tells of a running activity, so
    the search finds them; with it not one does, nor does a line of a stack trace."""
    settings = Settings(data=tmp_path, encryption=EncryptionSettings(provider="local"))
    await migrate(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    folder = tmp_path / "server"
    folder.mkdir()
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable("temporal"),
        dev_server_extra_args=[*DYNAMIC_CONFIG_ARGS],
        dev_server_database_filename=str(folder / "temporal.db"),
    ) as server:
        address = server.client.service_client.config.target_host
        plain = await Client.connect(address, plugins=[parley_plugin()])
        sealed = await Client.connect(address, plugins=[parley_plugin(protection=open_protection(settings))])
        told = {"plain": await everything_said(plain, "plain"), "sealed": await everything_said(sealed, "sealed")}
        file = on_disk(folder)
    for who, expected in (("plain", True), ("sealed", False)):
        held = file + told[who]
        found = {place: at(who, place).encode() in held for place in PLACES}
        assert found == dict.fromkeys(PLACES, expected)
        assert (f"{who}_stack_of_zebra".encode() in held) is expected
