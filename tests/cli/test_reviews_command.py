"""``parley reviews``, as a person types what the Web UI and the commands themselves show."""

from __future__ import annotations

import asyncio
import re
import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.testing import WorkflowEnvironment

from cli.main import app, run
from dialogue.messages import Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from workflows.wording import replay_command, review_command

ROOT = Path(__file__).resolve().parents[2]


def taken(command: str) -> Mapping[str, object]:
    """What the command that a shell is given takes, as :func:`run` hands it on."""
    parley, *arguments = shlex.split(command)
    assert parley == "parley"
    _, launched, _ = app.meta.parse_args(arguments, exit_on_error=False, print_error=False)
    _, bound, _ = app.parse_args(launched.args, exit_on_error=False, print_error=False)
    return bound.arguments


@pytest.mark.parametrize("conversation", ["-x", "--json", "--tenant=acme", "--help", "--", "-x'; id"])
def test_an_id_is_an_id_though_it_looks_like_an_option(conversation: str) -> None:
    """Whoever starts a workflow by an SDK chooses its id: the commands that name it take it as it is."""
    place = {"conversation": conversation, "turn": 1}
    assert taken(review_command("show", conversation, 1, "default")) == place
    assert taken(review_command("show", conversation, 1, "acme")) == {**place, "tenant": "acme"}
    decided = taken(review_command("resolve", conversation, 1, "acme", "--by ann --edit No."))
    assert decided == {**place, "tenant": "acme", "by": "ann", "edit": "No."}
    assert taken(replay_command(conversation, 1)) == place


@pytest.fixture
def settings_of(tmp_path: Path, temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of two tenants, for commands that ask the test's own server."""
    file = tmp_path / "temporal.yaml"
    file.write_text(
        f"temporal: {{address: '{temporal.client.service_client.config.target_host}'}}\n"
        "tenants: {default: {}, acme: {}}\n"
        f"intents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n"
    )
    monkeypatch.setenv("PARLEY_CONFIG", str(file))


@pytest.mark.usefixtures("settings_of")
@pytest.mark.parametrize("tenant", ["default", "acme"])
async def test_the_commands_that_are_shown_work(
    temporal: WorkflowEnvironment, tenant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one of the Web UI shows what waits and names the one that decides, which does; whichever tenant's it is."""
    steps = ScriptedSteps(f"q-{uuid.uuid4().hex[:6]}")
    core, conversation = Conversations(temporal.client, task_queue=steps.queue, web_ui=""), new_conversation_id()

    async def typed(command: str) -> str:
        parley, *arguments = shlex.split(command)
        assert parley == "parley"
        code = await asyncio.to_thread(run, arguments)
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    async with scripted_worker(temporal.client, steps):
        await core.say(conversation, Say(message_id="m1", text="doubtful", tenant=tenant), fresh=True)
        handle = temporal.client.get_workflow_handle(conversation)
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        (show,) = re.findall(r"`(parley reviews [^`]+)`", metadata.current_details)
        shown = await typed(show)
        assert "asked   doubtful" in shown
        (decide,) = re.findall(r"parley reviews resolve .+", shown)
        said = await typed(decide.replace("NAME HOW", "ann --approve"))
        reply = await core.reply(conversation, 1, tenant)
        await core.close(conversation, tenant)
    assert "You have 30 days [1]." in said
    assert isinstance(reply, Reply)
    assert (reply.state, reply.note) == ("done", "a rule; approve by ann")
