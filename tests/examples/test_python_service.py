"""The Python business service: what examples/python_service says is what happens."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.examples.conftest import ScriptedSite, python, run
from tests.support.servers import executable


async def test_ask_prints_the_answer(scripted: ScriptedSite) -> None:
    """One question, started by name with a JSON object through a client that knows nothing of Parley."""
    asked = await python("ask.py", "How long?", *scripted.where)
    assert (asked.code, asked.out) == (0, "You have 30 days [1]. (0)\n"), asked.err
    assert "verdict pass · workflow ticket-" in asked.err


async def test_a_ticket_is_asked_once(scripted: ScriptedSite) -> None:
    """The same ticket again, even with other words, gets the first answer and starts nothing."""
    ticket = ("--ticket", uuid.uuid4().hex)
    first = await python("ask.py", "How long?", *ticket, *scripted.where)
    second = await python("ask.py", "greeting", *ticket, *scripted.where)
    assert first.out == second.out
    assert len(scripted.steps.called("receive_input")) == 1


async def test_a_refused_field_is_one_line(scripted: ScriptedSite) -> None:
    """A foreign client's mistake fails its own call, with the field's name."""
    refused = await python("ask.py", "How long?", "--user", "two words", *scripted.where)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("invalid-request: user: ")


async def test_a_conversation_of_two_turns(scripted: ScriptedSite) -> None:
    """Both messages reach the same conversation, in order; the first one opens it."""
    name = f"shop-{uuid.uuid4().hex}"
    held = await python("conversation.py", "How long?", "greeting", "--conversation", name, *scripted.where)
    assert held.code == 0, held.err
    assert held.out.splitlines() == [
        "you     How long?",
        "parley  You have 30 days [1]. (0)",
        "you     greeting",
        "parley  Hello!",
    ]
    assert sorted(scripted.steps.rows) == [(name, 1), (name, 2)]


async def test_another_tenants_conversation_is_refused(scripted: ScriptedSite) -> None:
    """With the words used for one that does not exist."""
    name = f"shop-{uuid.uuid4().hex}"
    await python("conversation.py", "How long?", "--conversation", name, *scripted.where)
    foreign = await python("conversation.py", "How long?", "--conversation", name, "--tenant", "acme", *scripted.where)
    assert foreign.code == 2
    assert foreign.err == f"unknown-conversation: conversation {name} belongs to no tenant you may read.\n"


async def test_the_temporal_cli_starts_a_dialogue(scripted: ScriptedSite) -> None:
    """Plain JSON on the command line is enough; the result is plain JSON too."""
    answered = await run(
        *(executable("temporal"), "workflow", "execute", "--type", "DialogueWorkflow"),
        *("--workflow-id", f"ticket-{uuid.uuid4().hex}", "--output", "json"),
        *("--input", json.dumps({"question": "How long?", "user": "ann"})),
        *scripted.where,
    )
    assert answered.code == 0, answered.err
    assert json.loads(answered.out)["result"]["answer"] == "You have 30 days [1]. (0)"
    assert [call.user for call in scripted.steps.called("receive_input")] == ["ann"]


async def test_the_temporal_cli_says_something(scripted: ScriptedSite) -> None:
    """Update-with-start from the command line; the update's id is the message id."""
    name = f"shop-{uuid.uuid4().hex}"
    said = await run(
        *(executable("temporal"), "workflow", "execute-update-with-start", "--output", "json"),
        *("--type", "ConversationWorkflow", "--workflow-id", name, "--id-conflict-policy", "UseExisting"),
        *("--update-name", "say", "--update-id", "m-1", "--input", '{"tenant": "default"}'),
        *("--update-input", '{"message_id": "m-1", "text": "How long?"}'),
        *scripted.where,
    )
    assert said.code == 0, said.err
    assert scripted.steps.rows[name, 1].message_id == "m-1"


# The same against the real model and knowledge base ------------------------------------------------


def _at(demo_site: Any) -> tuple[str, ...]:
    return "--address", demo_site.temporal_address


@pytest.mark.e2e
@pytest.mark.xdist_group("site")
async def test_ask_a_real_site(demo_site: Any) -> None:
    """The answer is grounded in the help centre: it comes with a citation."""
    asked = await python("ask.py", "How long do I have to send back shoes I bought online?", *_at(demo_site))
    assert asked.code == 0, asked.err
    assert "30 days" in asked.out
    assert "\n[1] Returns and refunds (" in asked.out


@pytest.mark.e2e
@pytest.mark.xdist_group("site")
async def test_hold_a_conversation_with_a_real_site(demo_site: Any) -> None:
    """Two turns in two languages; the second, which the small model does not speak, is quoted."""
    held = await python("conversation.py", "Hello!", "网上买的鞋子多少天内可以退？", *_at(demo_site))
    assert held.code == 0, held.err
    _, first, second = held.out.split("you     ")
    assert "parley  Hello" in first
    assert "30" in second.split("parley  ")[1]


@pytest.mark.e2e
@pytest.mark.xdist_group("site")
async def test_the_temporal_cli_asks_a_real_site(demo_site: Any) -> None:
    """As docs/starting-workflows.md shows it."""
    answered = await run(
        *(executable("temporal"), "workflow", "execute", "--type", "DialogueWorkflow", "--task-queue", "dialogue"),
        *("--workflow-id", f"ticket-{uuid.uuid4().hex}", "--output", "json"),
        *("--input", json.dumps({"question": "What is the daily transfer limit?"})),
        *_at(demo_site),
    )
    assert answered.code == 0, answered.err
    reply = json.loads(answered.out)["result"]
    assert reply["verdict"] in ("pass", "mask")
    assert reply["citations"]
    assert [record["step"] for record in reply["steps"]][-1] == "return_answer"
