"""Two versions of the workflows at once, on a real server: a conversation ends a turn with the code it began it with.

The new version looks up knowledge before it recognises the intent: a change of the commands without a patch.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from dialogue.messages import ResolveReview, Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from tests.support.chains import lost_tasks, runs_of
from tests.support.changed_workflows import REPOSITORY, changed_workflows, environment_of
from tests.support.servers import executable

SWAPPED = {
    "turn.py": (
        "        await steps.recognise_intent(turn)\n        await steps.retrieve_knowledge(turn)\n",
        "        await steps.retrieve_knowledge(turn)\n        await steps.recognise_intent(turn)\n",
    )
}
OLD, NEW = ["recognise_intent", "retrieve_knowledge"], ["retrieve_knowledge", "recognise_intent"]


class Rollout:
    """A task queue of its own whose workers come and go."""

    def __init__(self, client: Client, address: str, new: Path) -> None:
        self.client, self.address, self.new = client, address, new
        self.queue = self.deployment = f"versions-{uuid.uuid4().hex[:8]}"
        self.core = Conversations(client, task_queue=self.queue, web_ui="http://127.0.0.1:8233")

    @contextlib.asynccontextmanager
    async def worker(self, folder: Path, build: str = "") -> AsyncIterator[None]:
        """Runs the workflows below ``folder``."""
        arguments = [self.address, self.queue, *((build, self.deployment) if build else ())]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.versioned_worker",
            *arguments,
            cwd=folder,
            env=environment_of(folder),
            stdout=PIPE,
            stderr=DEVNULL,
        )
        assert process.stdout is not None
        first = await process.stdout.readline()
        # The SDK's core warns there of each task that fails; unread, the pipe fills up and the process never ends.
        reading = asyncio.create_task(process.stdout.read())
        try:
            assert first == b"ready\n"
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await reading
            await process.wait()

    async def make_current(self, build: str) -> None:
        """As soon as the server knows the version by its workers' polls, and until all that begins goes there."""
        command = ("worker", "deployment", "set-current-version", "--deployment-name", self.deployment)
        while await self.temporal(*command, "--build-id", build, "-y") != 0:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)
        there = 0
        while there < 5:  # one after the other, because each partition of the task queue hears of it by itself
            probe = new_conversation_id()
            await self.say(probe, "a greeting")
            there = there + 1 if await self.build_of(probe) == build else 0

    async def hold(self, conversation: str, build: str) -> None:
        """On that version, whatever is current."""
        override = (
            "--versioning-override-behavior",
            "pinned",
            "--versioning-override-deployment-name",
            self.deployment,
        )
        done = await self.temporal(
            "workflow", "update-options", "-w", conversation, *override, "--versioning-override-build-id", build
        )
        assert done == 0

    async def temporal(self, *words: str) -> int:
        """The exit code of Temporal's command line."""
        process = await asyncio.create_subprocess_exec(
            executable("temporal"), *words, "--address", self.address, stdout=DEVNULL, stderr=DEVNULL
        )
        return await process.wait()

    async def say(self, conversation: str, text: str) -> Reply:
        reply = await self.core.say(conversation, Say(message_id=f"m-{uuid.uuid4().hex[:8]}", text=text), fresh=True)
        assert isinstance(reply, Reply)
        return reply

    async def build_of(self, conversation: str) -> str:
        description = (await self.client.get_workflow_handle(conversation).describe()).raw_description
        return description.workflow_execution_info.versioning_info.deployment_version.build_id


def _order(reply: Reply) -> list[str]:
    return [step.step for step in reply.steps][1:3]


@pytest.fixture
def rollout(temporal: WorkflowEnvironment, tmp_path: Path) -> Rollout:
    config = temporal.client.service_client.config
    return Rollout(temporal.client, config.target_host, changed_workflows(tmp_path, SWAPPED))


async def test_conversations_end_their_turn_on_their_version_and_go_on_with_the_next(rollout: Rollout) -> None:
    """What runs ends on the old workers, what begins begins on the new ones, and no workflow task fails anywhere."""
    waits, idles, begins = new_conversation_id(), new_conversation_id(), new_conversation_id()
    async with rollout.worker(REPOSITORY, "one"):
        await rollout.make_current("one")
        assert (await rollout.say(waits, "doubtful")).state == "waiting"
        assert _order(await rollout.say(idles, "How long?")) == OLD
        async with rollout.worker(rollout.new, "two"):
            await rollout.make_current("two")
            assert _order(await rollout.say(begins, "How long?")) == NEW
            decision = ResolveReview(turn=1, decision="approve", by="ann")
            resolved = Reply.model_validate(await rollout.core.resolve_review(waits, decision))
            last_of_old = await rollout.say(idles, "And in a shop?")
            assert [_order(resolved), _order(last_of_old)] == [OLD, OLD]
            first_of_new = [await rollout.say(conversation, "And for gifts?") for conversation in (waits, idles)]
            assert [_order(reply) for reply in first_of_new] == [NEW, NEW]
            assert [reply.turn for reply in first_of_new] == [2, 3]
            assert [await rollout.build_of(each) for each in (waits, idles, begins)] == ["two"] * 3
            for conversation in (waits, idles, begins):
                runs = await runs_of(rollout.client, conversation)
                assert len(runs) == (1 if conversation == begins else 2)
                assert not lost_tasks(runs)


@pytest.mark.full
async def test_a_run_that_is_held_on_its_version_does_not_start_over_and_over(rollout: Rollout) -> None:
    """An operator's override outweighs what is current; the conversation stays, one run a turn."""
    conversation = new_conversation_id()
    async with rollout.worker(REPOSITORY, "one"), rollout.worker(rollout.new, "two"):
        await rollout.make_current("one")
        await rollout.say(conversation, "How long?")
        await rollout.hold(conversation, "one")
        await rollout.make_current("two")
        replies = [await rollout.say(conversation, f"How long, {number}?") for number in range(3)]
        assert [_order(reply) for reply in replies] == [OLD] * 3
        assert len(await runs_of(rollout.client, conversation)) <= 4


async def test_what_ran_without_a_version_is_taken_over(rollout: Rollout) -> None:
    """By the version that becomes current, which must therefore replay it: here it is the same code."""
    conversation = new_conversation_id()
    async with rollout.worker(REPOSITORY):
        assert (await rollout.say(conversation, "doubtful")).state == "waiting"
    async with rollout.worker(REPOSITORY, "one"):
        await rollout.make_current("one")
        decision = ResolveReview(turn=1, decision="approve", by="ann")
        await rollout.core.resolve_review(conversation, decision)
        assert await rollout.build_of(conversation) == "one"
    assert not lost_tasks(await runs_of(rollout.client, conversation))


@pytest.mark.full
async def test_without_versions_the_same_change_breaks_what_runs(rollout: Rollout) -> None:
    """The new workers cannot go on with what the old ones began; with the old code back it is answered."""
    conversation = new_conversation_id()
    async with rollout.worker(REPOSITORY):
        assert (await rollout.say(conversation, "doubtful")).state == "waiting"
    decision = ResolveReview(turn=1, decision="approve", by="ann")
    resolving = asyncio.create_task(rollout.core.resolve_review(conversation, decision))
    async with rollout.worker(rollout.new):
        while not (lost := lost_tasks(await runs_of(rollout.client, conversation))):  # noqa: ASYNC110 (the server)
            await asyncio.sleep(0.1)
        assert "ondeterminism" in str(lost[0])
    async with rollout.worker(REPOSITORY):
        resolved = await asyncio.wait_for(resolving, 60)
    assert _order(Reply.model_validate(resolved)) == OLD
