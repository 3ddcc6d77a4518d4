"""A one-shot is started and looked at; its webhook tells the answer once, signed, whatever became of the gateway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from activities.deliver_webhook import DeliverWebhookStep
from activities.step_interceptor import StepInterceptor
from gateway.app import create_app
from gateway.conversations import Conversations
from settings.schema import Settings, TenantSettings
from tests.gateway.conftest import NO_STREAMS, QUESTION, WEB_UI, Front, http, settings_on
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.support.webhook_receiver import Receiver, receiver

SECRET = b"a secret of many letters"
SLOW = {"messages": [{"role": "user", "content": "A slow question"}]}


async def _start(front: Front, **more: Any) -> httpx.Response:
    return await front.http.post("/v1/dialogues", json={**QUESTION, **more})


# starting and looking -----------------------------------------------------------------------------


async def test_a_question_is_started_and_looked_at(front: Front) -> None:
    """202 at once and where to look; once it is answered, the reply stands there."""
    started = await _start(front, **SLOW, message_id=f"m-{uuid.uuid4().hex}")
    told = started.json()
    assert (started.status_code, told["state"], told["reply"]) == (202, "running", None), started.text
    assert started.headers["location"] == told["status_url"] == f"/v1/dialogues/{told['dialogue']}?tenant=default"
    await front.steps.running.wait()
    running = await front.http.get(told["status_url"])
    assert (running.status_code, running.json()["state"]) == (200, "running")
    assert running.headers["retry-after"] == "2"
    front.steps.release.set()
    await front.client.get_workflow_handle(told["dialogue"]).result()
    done = await front.http.get(told["status_url"])
    assert (done.json()["state"], done.json()["reply"]["answer"]) == ("done", "You have 30 days [1]. (0)")
    assert "retry-after" not in done.headers


async def test_who_waits_gets_the_answer(front: Front) -> None:
    """200 with the reply; where a person decides first, 202."""
    answered = await _start(front, wait=20)
    assert (answered.status_code, answered.json()["state"]) == (200, "done"), answered.text
    assert answered.json()["reply"]["verdict"] == "pass"
    waiting = await _start(front, wait=20, messages=[{"role": "user", "content": "A doubtful question"}])
    assert (waiting.status_code, waiting.json()["state"]) == (202, "waiting")
    assert waiting.headers["retry-after"] == "30"
    await front.client.get_workflow_handle(waiting.json()["dialogue"]).terminate()


async def test_sent_twice_it_is_asked_once(front: Front) -> None:
    """By message_id or Idempotency-Key; with another text the id is refused."""
    key = f"m-{uuid.uuid4().hex}"
    first = await front.http.post("/v1/dialogues", json={**QUESTION, "wait": 20}, headers={"Idempotency-Key": key})
    second = await _start(front, message_id=key, wait=20)
    other = await _start(front, message_id=key, messages=[{"role": "user", "content": "Something else"}])
    assert first.json() == second.json()
    assert len(front.steps.called("receive_input")) == 1
    assert (other.status_code, other.json()["type"]) == (409, "/docs#message-id-reused")


async def test_a_dialogue_is_its_tenants(front: Front) -> None:
    """Another tenant's, a conversation's and one that never was read the same."""
    mine = (await _start(front, wait=20)).json()["dialogue"]
    conversation = (await front.post(conversation=front.new())).json()["conversation"]
    foreign = await front.http.get(f"/v1/dialogues/{mine}?tenant=acme")
    for path in (f"{mine}?tenant=acme", conversation, "dlg-never", "a%20b"):
        response = await front.http.get(f"/v1/dialogues/{path}")
        assert (response.status_code, response.json()["type"]) == (404, "/docs#unknown-conversation"), path
    assert "belongs to no tenant you may read" in foreign.json()["detail"]


async def test_a_dialogue_that_was_ended_from_outside(front: Front) -> None:
    """It says so; that is no failure of the request."""
    told = (await _start(front, **SLOW)).json()
    await front.steps.running.wait()
    await front.client.get_workflow_handle(told["dialogue"]).terminate("by an operator")
    response = await front.http.get(told["status_url"])
    assert (response.status_code, response.json()["state"]) == (200, "failed")
    assert response.json()["problem"]


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"conversation": "c1"}, 422, "conversation"),
    ({"stream": True}, 422, "stream"),
    ({"wait": -1}, 422, "wait"),
    ({"wait": 1e9}, 422, "wait"),
    ({"wait": "soon"}, 422, "wait"),
    ({"messages": []}, 422, "messages"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, 422, "messages.0.role"),
    ({"model": "gpt"}, 404, "model"),
    ({"tenant": "nobody"}, 404, "tenant"),
    ({"temperature": 3}, 422, "temperature"),
    ({"webhook": "http://x"}, 422, "webhook"),
    ({"webhook": {"url": ""}}, 422, "webhook.url"),
    ({"webhook": {"url": "https://hooks.example/"}}, 422, "webhook.url"),
    ({"webhook": {"url": "https://hooks.example/", "secret": "x"}}, 422, "webhook.secret"),
]


@pytest.mark.parametrize(("more", "status", "field"), BAD, ids=[f"{n}-{bad[2]}" for n, bad in enumerate(BAD)])
async def test_bad_fields(alone: httpx.AsyncClient, more: dict[str, Any], status: int, field: str) -> None:
    """Each is refused by name before anything is started."""
    response = await alone.post("/v1/dialogues", json={**QUESTION, **more})
    assert (response.status_code, response.json()["field"]) == (status, field), response.text


# webhooks -----------------------------------------------------------------------------------------


@dataclass
class Hooked:
    """A worker that delivers webhooks to this machine, and the gateways in front of it."""

    settings: Settings
    steps: ScriptedSteps
    conversations: Conversations

    async def start(self, hook: Receiver, **more: Any) -> str:
        """Through a gateway that is gone when this returns."""
        async with http(create_app(self.conversations, self.settings, NO_STREAMS)) as client:
            response = await client.post("/v1/dialogues", json={**QUESTION, "webhook": {"url": hook.url}, **more})
        assert response.status_code == 202, response.text
        return response.json()["dialogue"]

    async def ended(self, dialogue: str) -> dict[str, Any]:
        return await self.conversations.client.get_workflow_handle(dialogue).result()


class NoEvents:
    """Nobody reads these streams."""

    async def publish(self, *_: Any, **__: Any) -> None:
        return


@pytest.fixture
async def hooked(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Hooked]:
    (tmp_path / "secret").write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n")
    tenant = TenantSettings(webhook_hosts=("127.0.0.1",), webhook_secret_file=tmp_path / "secret")
    queue = f"hooked-{uuid.uuid4().hex[:8]}"
    settings = settings_on(queue).model_copy(update={"tenants": {"default": tenant}})
    steps = ScriptedSteps(queue)
    conversations = Conversations(temporal.client, task_queue=queue, web_ui=WEB_UI)
    interceptor = StepInterceptor("all", "test", NoEvents())  # type: ignore[arg-type]
    delivering = DeliverWebhookStep(settings).deliver_webhook
    async with scripted_worker(temporal.client, steps, more=[delivering], interceptors=[interceptor]):
        yield Hooked(settings, steps, conversations)


async def test_a_webhook_outlives_its_gateway_and_a_receiver_that_fails(hooked: Hooked) -> None:
    """Two answers 500, then it is taken: the same id and body each time, signed anew."""
    async with receiver(500, 503, 204) as hook:
        dialogue = await hooked.start(hook, **SLOW)
        await hooked.steps.running.wait()
        assert hook.got == []
        hooked.steps.release.set()
        await hook.times(3)
        reply = await hooked.ended(dialogue)
    assert len(hook.got) == 3
    assert {headers["webhook-id"] for _, headers, _ in hook.got} == {dialogue}
    assert len({body for _, _, body in hook.got}) == 1
    for line, headers, body in hook.got:
        assert line == "POST /hook?of=parley HTTP/1.1"
        assert headers["host"] == f"127.0.0.1:{hook.port}"
        signed = f"{dialogue}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    told = json.loads(hook.got[0][2])
    assert told["type"] == "dialogue.answered"
    assert (told["data"]["answer"], told["data"]["conversation"]) == (reply["answer"], dialogue)
    assert "steps" not in told["data"]


@pytest.mark.parametrize("status", [302, 307, 410])
async def test_a_redirect_is_not_followed(hooked: Hooked, status: int) -> None:
    """It could lead anywhere: the delivery ends, the dialogue has its answer all the same."""
    async with receiver(status) as hook:
        reply = await hooked.ended(await hooked.start(hook))
    assert len(hook.got) == 1
    assert reply["verdict"] == "pass"


async def test_the_history_holds_no_secret(hooked: Hooked) -> None:
    """What the workflow knows is the address."""
    async with receiver(200) as hook:
        dialogue = await hooked.start(hook)
        await hooked.ended(dialogue)
    history = (await hooked.conversations.client.get_workflow_handle(dialogue).fetch_history()).to_json()
    for form in (SECRET, base64.b64encode(SECRET), base64.b64encode(base64.b64encode(SECRET))):
        assert form.decode() not in history
