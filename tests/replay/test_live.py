"""Histories that the server itself holds: chains of runs, and a conversation set back to before a turn."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from cli.main import run
from dialogue.faults import InvalidRequest, NoSuchHistory, NoSuchTurn
from dialogue.messages import Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from records.data_keys import DataKeys
from records.database import migrate
from records.plugin import parley_plugin
from records.protection import open_protection
from replay.chain import Chain
from replay.exact import history_exact
from replay.fork import fork, plan_fork
from replay.histories import live
from replay.server import listed
from replay.story import tell, turn_of
from settings.schema import EncryptionSettings, Settings
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


class Speaker:
    """Says things to scripted steps."""

    def __init__(self, client: Client, steps: ScriptedSteps, keys: DataKeys | None = None) -> None:
        self.client, self.steps = client, steps
        self.core = Conversations(client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233", keys=keys)

    async def say(
        self, conversation: str, *texts: str, start: dict[str, object] | None = None, fresh: bool = True
    ) -> Reply:
        reply: object = None
        for text in texts:
            say = Say(message_id=f"m-{uuid.uuid4().hex[:8]}", text=text)
            reply = await self.core.say(conversation, say, fresh=fresh, start=start or {})
        assert isinstance(reply, Reply)
        return reply


class _Terminal(io.StringIO):
    """Somebody who answers when asked."""

    def __init__(self, answer: Callable[[], str]) -> None:
        super().__init__()
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:
        return self._answer()


@pytest.fixture
async def speaker(temporal: WorkflowEnvironment) -> AsyncIterator[Speaker]:
    steps = ScriptedSteps(f"replay-{uuid.uuid4().hex[:8]}")
    async with scripted_worker(temporal.client, steps):
        yield Speaker(temporal.client, steps)


async def test_a_live_chain_is_one_story_and_a_run_can_be_named(speaker: Speaker) -> None:
    """Across continue-as-new, followed back from the newest run; a run that is not there is said so."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", "And for gifts?", start={"turns_per_run": 1})
    chain = await live(speaker.client, name)
    assert len(chain.runs) >= 3
    assert [turn.said for turn in tell(chain).turns] == ["How long?", "And in a shop?", "And for gifts?"]
    alone = await live(speaker.client, name, chain.runs[1].run_id)
    assert [turn.turn for turn in tell(alone).turns if turn.steps] == [2]
    with pytest.raises(NoSuchHistory, match=r"Temporal has no conv-0 \(any more\), and it is not archived"):
        await live(speaker.client, "conv-0")
    with pytest.raises(NoSuchHistory):
        await live(speaker.client, name, "no-such-run")


async def test_a_query_that_the_server_refuses_is_one_line(speaker: Speaker) -> None:
    """With the server's own reason."""
    with pytest.raises(InvalidRequest, match="query: the server refuses it"):
        _ = [each async for each in listed(speaker.client, "Verdikt = 'block'")]


async def test_a_fork_leaves_turns_behind_and_counts_on(speaker: Speaker) -> None:
    """The conversation forgets them, the audit keeps them; who did it and why stands in the history, which replays."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", "block this")
    plan = plan_fork(await live(speaker.client, name), 2)
    assert (plan.before, plan.total, plan.left) == (2, 3, (2, 3))
    run_id, next_turn = await fork(speaker.client, plan, by="ann", why="a wrong document")
    assert next_turn == 4
    reply = await speaker.say(name, "And for gifts?")
    assert (reply.turn, reply.run_id) == (4, run_id)
    assert sorted(turn for conversation, turn in speaker.steps.rows if conversation == name) == [1, 2, 3, 4]
    history = speaker.steps.called("generate_answer")[-1].history
    assert [message.content for message in history if message.role == "user"] == ["How long?"]
    chain = await live(speaker.client, name)
    story = tell(chain)
    assert [each.forked for each in story.runs] == ["", "forked before turn 2 by ann: a wrong document"]
    assert story.runs[-1].run_id == run_id
    assert [(turn.turn, turn.run) for turn in story.turns] == [(1, 2), (2, 1), (3, 1), (4, 2)]
    exact = await history_exact(chain.runs[-1])
    assert exact.state == "same", exact.divergence or exact.why
    reset = next(e for e in chain.runs[-1].events if e.HasField("workflow_task_failed_event_attributes"))
    assert reset.workflow_task_failed_event_attributes.failure.message == "forked before turn 2 by ann"


async def test_a_second_fork_may_go_to_a_turn_that_the_first_left(speaker: Speaker) -> None:
    """The reset takes up the run where that turn stands, which knows of no turn since; no number is given twice."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", "And for gifts?")
    await fork(speaker.client, plan_fork(await live(speaker.client, name), 2), by="ann", why="a wrong document")
    assert (await speaker.say(name, "And in summer?")).turn == 4
    plan = plan_fork(await live(speaker.client, name), 3)
    assert (plan.total, plan.left) == (4, (3, 4))
    run_id, next_turn = await fork(speaker.client, plan, by="bob", why="turn 2 was right")
    reply = await speaker.say(name, "And in winter?")
    assert (reply.turn, reply.run_id) == (next_turn, run_id) == (5, run_id)
    asked = speaker.steps.called("generate_answer")[-1].history
    assert [message.content for message in asked if message.role == "user"] == ["How long?", "And in a shop?"]
    told = [each.forked for each in tell(await live(speaker.client, name)).runs]
    assert told == [
        "",
        "forked before turn 2 by ann: a wrong document",
        "forked before turn 3 by bob: turn 2 was right",
    ]


async def test_each_fork_says_its_own_why(speaker: Speaker) -> None:
    """Also where one person went back to the same turn again and again: each reset hands on what was told before."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?")
    for why in ("a wrong document", "still wrong", "wrong again"):
        await fork(speaker.client, plan_fork(await live(speaker.client, name), 2), by="ann", why=why)
    await speaker.say(name, "And for gifts?")  # what is told while a task runs is not in the history before its end
    told = [each.forked for each in tell(await live(speaker.client, name)).runs]
    assert told == [
        "",
        *(f"forked before turn 2 by ann: {why}" for why in ("a wrong document", "still wrong", "wrong again")),
    ]


async def test_where_the_site_encrypts_why_stands_nowhere_in_clear(
    temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Temporal holds no word of it; who may read the conversation is told it, until its user is forgotten."""
    settings = Settings(data=tmp_path, encryption=EncryptionSettings(provider="local", cache_seconds=0))
    await migrate(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    protection = open_protection(settings)
    assert protection is not None
    address = temporal.client.service_client.config.target_host
    client = await Client.connect(address, plugins=[parley_plugin(protection=protection)])
    steps, name = ScriptedSteps(f"replay-{uuid.uuid4().hex[:8]}"), new_conversation_id()
    async with scripted_worker(client, steps):
        speaker = Speaker(client, steps, protection.keys)
        await speaker.say(name, "How long?", "And in a shop?")
        plan = plan_fork(await live(client, name), 2)
        run_id, _ = await fork(client, plan, by="ann", why="she named zebra-4711")
        await speaker.say(name, "And for gifts?")
    raw = await temporal.client.get_workflow_handle(name, run_id=run_id).fetch_history()
    held = b"".join(each.SerializeToString() for each in raw.events)
    assert (b"forked before turn 2 by ann" in held, b"zebra" in held) == (True, False)
    assert tell(await live(client, name)).runs[-1].forked == "forked before turn 2 by ann: she named zebra-4711"
    await protection.keys.destroy("default", "anonymous")
    assert tell(await live(client, name)).runs[-1].forked == "forked before turn 2 by ann"


async def test_a_turn_from_before_a_conversation_was_closed_can_be_forked_to(speaker: Speaker) -> None:
    """The run of then goes on in place of the one that was opened since, whose turns keep their numbers."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?")
    await speaker.core.close(name, "default")
    await speaker.client.get_workflow_handle(name).result()
    assert (await speaker.say(name, "And for gifts?", fresh=False)).turn == 3
    plan = plan_fork(await live(speaker.client, name), 2)
    assert (await speaker.say(name, "And in summer?")).turn == 4  # unknown to the plan
    run_id, next_turn = await fork(speaker.client, plan, by="ann", why="a wrong document")
    reply = await speaker.say(name, "And in winter?")
    assert (reply.turn, reply.run_id) == (next_turn, run_id) == (5, run_id)


async def test_the_command_asks_before_it_forks(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the turns that would be left behind, again where somebody speaks meanwhile; nothing is done after a no,
    nor where nobody can be asked."""
    name, file = new_conversation_id(), tmp_path / "temporal.yaml"
    file.write_text(f"temporal: {{address: '{speaker.client.service_client.config.target_host}'}}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    await speaker.say(name, "How long?", "And in a shop?")
    command = ["replay", "fork", name, "--turn", "2", "--by", "ann", "--why", "a wrong document"]
    before = len((await live(speaker.client, name)).runs)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert await asyncio.to_thread(run, command) == 2
    assert "nobody is here to be asked" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", _Terminal(lambda: "n\n"))
    assert await asyncio.to_thread(run, command) == 1
    out, err = capsys.readouterr()
    assert "its turns 2 are left behind" in out
    assert "Nothing was done" in err
    assert len((await live(speaker.client, name)).runs) == before
    more, loop = ["And for gifts?"], asyncio.get_running_loop()

    def agree() -> str:
        while more:
            asyncio.run_coroutine_threadsafe(speaker.say(name, more.pop()), loop).result()
        return "y\n"

    monkeypatch.setattr("sys.stdin", _Terminal(agree))
    assert await asyncio.to_thread(run, [*command, "--json"]) == 0
    out, err = capsys.readouterr()
    asked = [line.partition(": ")[2] for line in err.splitlines() if "goes back" in line]
    assert asked == ["its turns 2 are left behind.", "its turns 2, 3 are left behind."]
    told = json.loads(out)
    assert (told["left"], told["next_turn"]) == ([2, 3], 4)
    assert (await live(speaker.client, name)).runs[-1].run_id == told["run_id"]


async def test_a_fork_is_refused_where_no_place_lies_between_two_turns(speaker: Speaker) -> None:
    """The message came while the turn before was under way: undoing it would undo half of that one."""
    name = new_conversation_id()
    first = asyncio.create_task(speaker.say(name, "slow"))
    await speaker.steps.running.wait()
    second = asyncio.create_task(speaker.say(name, "How long?"))
    while len(tell(await live(speaker.client, name)).turns) < 2:  # noqa: ASYNC110 (a history has no event)
        await asyncio.sleep(0.02)
    speaker.steps.release.set()
    await asyncio.gather(first, second)
    chain = await live(speaker.client, name)
    with pytest.raises(InvalidRequest, match="Fork before turn 1"):
        plan_fork(chain, 2)
    assert plan_fork(chain, 1).left == (1, 2)
    with pytest.raises(NoSuchTurn):
        plan_fork(chain, 9)
    assert turn_of(tell(Chain(name, chain.runs)), 1).verdict == "pass"
