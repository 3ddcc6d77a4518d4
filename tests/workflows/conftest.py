"""A scripted worker on a queue of its own, and the client core that talks to it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from dialogue.messages import Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from records.plugin import parley_plugin
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


@dataclass
class Site:
    client: Client
    steps: ScriptedSteps
    conversations: Conversations

    def new(self) -> str:
        return new_conversation_id()

    async def say(self, conversation: str, text: str, message_id: str | None = None, **options: object) -> Reply:
        say = Say(message_id=message_id or f"m-{uuid.uuid4().hex[:8]}", text=text)
        reply = await self.conversations.say(conversation, say, fresh=True, **options)  # type: ignore[arg-type]
        assert isinstance(reply, Reply)
        return reply


@pytest.fixture(scope="session")
async def temporal(temporal: WorkflowEnvironment) -> WorkflowEnvironment:
    """Here workflow code runs strictly: the sandbox refuses what a replay could not repeat."""
    address = temporal.client.service_client.config.target_host
    return WorkflowEnvironment.from_client(await Client.connect(address, plugins=[parley_plugin(strict=True)]))


@pytest.fixture
async def site(temporal: WorkflowEnvironment) -> AsyncIterator[Site]:
    queue = f"test-{uuid.uuid4().hex[:8]}"
    steps = ScriptedSteps(queue)
    conversations = Conversations(temporal.client, task_queue=queue, web_ui="http://127.0.0.1:8233")
    async with scripted_worker(temporal.client, steps):
        yield Site(temporal.client, steps, conversations)
