"""A scripted worker on a queue of its own, called with payloads as they are, and what its histories must not hold."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from gateway.conversations import Conversations
from tests.faults.payloads.nonsense import RawCalls, json_payload
from tests.support.chains import lost_tasks, runs_of
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


@dataclass
class Scene:
    client: Client
    steps: ScriptedSteps
    raw: RawCalls
    conversations: Conversations
    log: pytest.LogCaptureFixture

    async def conversation(self, **start: object) -> str:
        """A new one, opened by a foreign client, in which one message was answered."""
        conversation = f"conv-{uuid.uuid4().hex[:12]}"
        await self.raw.start("ConversationWorkflow", conversation, json_payload({"fresh": True, **start}))
        await self.answers(conversation)
        return conversation

    async def dialogue(self, question: str) -> str:
        dialogue = f"dlg-{uuid.uuid4().hex[:12]}"
        await self.raw.start("DialogueWorkflow", dialogue, json_payload({"question": question}))
        return dialogue

    async def answers(self, conversation: str) -> None:
        """A good message is answered, whatever was sent before."""
        say = json_payload({"message_id": f"m-{uuid.uuid4().hex[:8]}", "text": "How long?"})
        outcome = await self.raw.update(conversation, "say", say)
        assert not isinstance(outcome, Failure), outcome.message

    async def runs(self, workflow_id: str) -> list[list[HistoryEvent]]:
        return await runs_of(self.client, workflow_id)

    async def assert_no_task_was_lost(self, workflow_id: str) -> None:
        """No workflow task failed or timed out, none is tried again, and no worker's log speaks of one."""
        assert not lost_tasks(await self.runs(workflow_id))
        pending = (await self.client.get_workflow_handle(workflow_id).describe()).raw_description.pending_workflow_task
        assert pending.attempt <= 1
        # A task that held nothing but a refused update leaves no event behind; the worker tells of it.
        assert not [record for record in self.log.records if "Failed activation" in record.getMessage()]


@pytest.fixture
async def scene(temporal: WorkflowEnvironment, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Scene]:
    queue = f"faults-{uuid.uuid4().hex[:8]}"
    steps = ScriptedSteps(queue)
    caplog.set_level(logging.WARNING)
    conversations = Conversations(temporal.client, task_queue=queue, web_ui="http://127.0.0.1:8233")
    async with scripted_worker(temporal.client, steps):
        yield Scene(temporal.client, steps, RawCalls(temporal.client, queue), conversations, caplog)
