"""Other ``temporal.yaml``: pools split in three, a review that nobody resolves, the token log in Redis, workers with a
version.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.common import VersioningBehavior

from dialogue.messages import Say
from dialogue.turn import Reply
from records.token_log import StreamEvent
from settings.schema import SERVICES
from tests.support.redis_server import redis_server
from tests.support.servers import executable
from tests.support.site import Site, bring_up_site, write_settings

QUESTION = "How long do I have to send back shoes I bought online?"

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("site")]

THREE_POOLS = {
    "pools": {
        "dialogue": {"serves": ["workflows", "receive_input", "review_answer", "return_answer"]},
        "knowledge": {"serves": ["recognise_intent", "retrieve_knowledge"], "task_queue": "kb"},
        "gpu": {"serves": ["generate_answer"], "task_queue": "gpu.default", "slots": 8},
    },
    "policies": {"default": {"human_timeout": 1.0}},
}


VERSIONED = {
    "pools": {
        "dialogue": {
            "serves": [service for service in SERVICES if service != "generate_answer"],
            "version": {"build": "2026.11.24"},
        },
        "gpu": {"serves": ["generate_answer"], "slots": 16, "version": {"build": "2026.11.24"}},
    }
}


async def test_workers_with_a_version(tmp_path: Path) -> None:
    """Once their version is current they answer, and the conversation is pinned to it."""
    async with bring_up_site(tmp_path, VERSIONED) as site:
        words = (
            "worker",
            "deployment",
            "set-current-version",
            "--deployment-name",
            "parley",
            "--build-id",
            "2026.11.24",
        )
        process = await asyncio.create_subprocess_exec(
            executable("temporal"), *words, "-y", "--address", site.temporal_address, stdout=PIPE, stderr=STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        conversation = site.new()
        assert (await site.say(conversation, "How long do I have to send back shoes?", "m1")).state == "done"
        description = (await site.client.get_workflow_handle(conversation).describe()).raw_description
        versioning = description.workflow_execution_info.versioning_info
        assert versioning.behavior == VersioningBehavior.PINNED
        assert versioning.deployment_version.build_id == "2026.11.24"


async def test_three_pools_and_a_review_that_times_out(tmp_path: Path) -> None:
    """The steps run where the settings say; a turn nobody resolves ends with the fallback text."""
    async with bring_up_site(tmp_path, THREE_POOLS) as site:
        reply = await site.say(site.new(), QUESTION, "m1")
        pools = {step.step: step.pool for step in reply.steps}
        assert pools["recognise_intent"] == pools["retrieve_knowledge"] == "knowledge"
        assert (pools["receive_input"], pools["generate_answer"]) == ("dialogue", "gpu")
        conversation = site.new()
        waiting = await site.say(conversation, "I want to talk to a real person please", "m1")
        assert waiting.state == "waiting"
        after = await site.conversations.say(conversation, Say(message_id="m2", text="Hello!"))
        assert isinstance(after, Reply)
        assert after.turn == 2
        first, _ = await site.rows(conversation)
        assert "nobody resolved it in time" in first.note


@contextlib.asynccontextmanager
async def other_machine(site: Site, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another worker of the pool ``gpu``: Temporal, database and Redis are the site's, the data folder is its own."""
    shared = {
        "temporal": site.settings.temporal.model_dump(mode="json", include={"address", "web_ui"}),
        "records": {
            "database": site.layout.database_url(site.settings.records.database),
            "token_log": site.settings.records.token_log,
        },
    }
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "worker", "gpu", cwd=site.repository, stderr=asyncio.subprocess.PIPE,
        env={**site.environment, "PARLEY_CONFIG": str(write_settings(folder, shared))},
    )  # fmt: skip
    assert worker.stderr is not None
    while b"worker ready" not in (line := await worker.stderr.readline()):
        assert line, "it ended before it was ready"
    reading = asyncio.create_task(worker.stderr.read())
    try:
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
        await reading


async def generating(site: Site, conversation: str) -> int:
    """The process that makes the answer now."""
    described = await site.client.get_workflow_handle(conversation).describe()
    (activity,) = described.raw_description.pending_activities
    return int(activity.last_worker_identity.rpartition(":")[2])


@pytest.mark.timeout(400)
async def test_an_answer_goes_on_on_another_machine(tmp_path: Path) -> None:
    """With the token log in Redis: a worker is killed, one that shares no folder with it resumes at the last token."""
    with redis_server() as redis:
        changes = {"records": {"token_log": redis.url}}
        async with bring_up_site(tmp_path / "one", changes) as site, other_machine(site, tmp_path / "two") as other:
            conversation = site.new()
            saying = asyncio.create_task(site.say(conversation, QUESTION, "m1"))
            events: list[StreamEvent] = []
            async for event in site.token_log.follow(f"{conversation}/0001"):
                events.append(event)
                if [each.kind for each in events].count("token") == 5 and event.kind == "token":
                    if await generating(site, conversation) == other.pid:
                        other.kill()
                    else:
                        site.up.supervisor.kill("gpu")
            reply = await saying
            step = next(step for step in reply.steps if step.step == "generate_answer")
            assert step.attempt > 1
            assert "resumed at token" in step.result
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            assert events[-1].data["answer"] == reply.answer
            assert not site.layout.token_log.exists()
