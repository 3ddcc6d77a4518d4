"""Which answers a faulty document, model or rule touched, by the audit and by the histories."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

import cli.replay_affected
import replay.rerun
from cli.main import run
from dialogue.faults import NoSuchHistory
from knowledge_base.knowledge import KnowledgeBase
from records.audit import AuditLog
from records.payloads import data_converter
from records.tables import interaction_logs
from replay.affected import Affected, ChainOf, Suspect, affected, ask_again, todays
from replay.chain import Chain
from replay.changes import Changes, rerun_plan
from replay.evidence import evidence
from replay.histories import from_files
from replay.rerun import RerunTurn
from replay.turns import Turn
from settings.load import load
from tests.records.conftest import postgres_url, url
from tests.records.rows import a_row
from tests.replay.kept import kept_site
from tests.replay.made import chain, completion_of, edited_result, spoiled, story

__all__ = ["postgres_url", "url"]

NAMES = ("normal", "blocked", "generated-without-knowledge")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = kept_site(tmp_path, *NAMES)
    monkeypatch.setenv("PARLEY_CONFIG", str(found))
    return found


async def _found(file: Path, suspect: Suspect) -> list[Affected]:
    """With the histories that there are: of one there is none, and in another the review found something."""
    finding = {"rule": "words", "label": "word level 2", "start": 0, "end": 3, "action": "block"}
    edited = spoiled(file.parent, "blocked", edited_result("review_answer", lambda v: v.update(findings=[finding])))

    async def chain_of(conversation: str) -> Chain:
        if conversation == "conv-generated-without-knowledge":
            raise NoSuchHistory("workflow: it is away")
        if conversation == "conv-blocked":
            return (await from_files([edited], data_converter))[0]
        return await chain("normal")

    async with evidence(load(file)) as held:
        return [each async for each, _ in affected(held, suspect, chain_of)]


def test_the_audit_tells_documents_and_models(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the people concerned, oldest first, with the command that shows each; no server is asked."""
    assert run(["replay", "affected", "--document", "en/returns.md"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("ann of ")
    assert "how       cites en/returns.md" in said
    assert "parley replay show conv-normal --turn 1" in said
    assert run(["replay", "affected", "--model", "dddd", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 4
    assert [each["at"] for each in found] == sorted(each["at"] for each in found)
    assert run(["replay", "affected", "--document", "en/none.md"]) == 0
    assert "0 answers to 0 people" in capsys.readouterr().out
    for wrong in ([], ["--document", "a", "--model", "b"], ["--model", "b", "--shown"]):
        assert run(["replay", "affected", *wrong]) == 2
        assert "give one of --document, --model and --rule" in capsys.readouterr().err


async def test_the_commands_name_an_id_whatever_its_starter_wrote(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of `replay find` and `replay affected` are one word more than without it, and drive no terminal."""
    conversation = "x` $(id) \x1b[2J"
    async with evidence(load(file)) as held:
        await AuditLog(held.database).append(a_row(conversation=conversation, model_digest="f" * 64))
    for arguments in (["find"], ["affected"]):
        assert await asyncio.to_thread(run, ["replay", *arguments, "--model", "ffff"]) == 0
        said = capsys.readouterr().out
        assert "parley replay show 'x` $(id) \ufffd[2J' --turn 1" in said
        assert "\x1b" not in said


async def test_an_answer_whose_citations_are_damaged_is_told_as_open(file: Path) -> None:
    """It may cite the document: nothing in the audit can clear it."""
    async with evidence(load(file)) as held, held.database.begin() as connection:
        damage = update(interaction_logs).where(interaction_logs.c.conversation == "conv-blocked")
        await connection.execute(damage.values(citations="x"))
    found = {each.conversation: each for each in await _found(file, Suspect(document="en/returns.md"))}
    assert found["conv-blocked"].how == ()
    assert "citations: not as written" in found["conv-blocked"].problem
    assert found["conv-normal"].problem == ""


def test_the_commands_ask_any_database(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite and PostgreSQL alike: the turn of a complaint, each with a link, and the answers that cite a document."""
    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, *NAMES, url=url)))
    assert run(["replay", "find", "--text", "how long", "--verdict", "pass", "--until", "2099-01-01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["conversation"], each["turn"]) for each in found][-1] == ("conv-normal", 1)
    assert found[-1]["trace_url"].endswith("/workflows/conv-normal")
    assert run(["replay", "find", "--text", "unheard"]) == 0
    assert "Nothing in the audit matches" in capsys.readouterr().out
    for suspect in (["--document", "en/returns.md"], ["--model", "dddd", "--since", "2026-01-01"]):
        assert run(["replay", "affected", *suspect, "--json"]) == 0
        assert "conv-normal" in {each["conversation"] for each in json.loads(capsys.readouterr().out)}


async def test_the_histories_tell_rules_and_what_was_shown(file: Path) -> None:
    """What the policy found where; and a history that cannot be read is named and clears nobody."""
    for rule in ("words", "word level 2"):
        found = await _found(file, Suspect(rule=rule))
        assert {each.how for each in found if each.conversation == "conv-blocked"} == {
            ("words (word level 2) in try 1: block",)
        }
        assert [each.problem for each in found if not each.how] == ["workflow: it is away"]
        assert len(found) == 2
    document = (await story("normal")).turns[0].passages[0].document
    shown = await _found(file, Suspect(document=document, shown=True))
    told = {each.conversation: each.how for each in shown if each.how}
    assert told["conv-normal"] == (f"cites {document}", f"was shown {document}")


async def test_what_cannot_be_read_clears_nobody(file: Path) -> None:
    """The step that would tell is encrypted with a key that is not here: its answer is listed with the reason."""

    def locked(events: list[Any]) -> None:
        (payload,) = completion_of("review_answer", events)["result"]["payloads"]
        payload["metadata"]["encoding"] = base64.b64encode(b"binary/encrypted").decode()

    path = spoiled(file.parent, "blocked", locked)

    async def chain_of(conversation: str) -> Chain:
        if conversation != "conv-blocked":
            return await chain(conversation.removeprefix("conv-"))
        (found,) = await from_files([path], data_converter)
        return found

    async with evidence(load(file)) as held:
        found = [each async for each, _ in affected(held, Suspect(rule="words"), chain_of)]
    assert {each.conversation for each in found} == {"conv-blocked"}
    assert all("cannot be decoded" in each.problem for each in found)


@pytest.mark.parametrize(
    ("name", "suspect", "change", "said"),
    [
        (
            "normal",
            Suspect(document="en/returns.md", shown=True),
            edited_result("retrieve_knowledge", lambda v: v["passages"][0].pop("text")),
            "event 19: the result of retrieve_knowledge cannot be read (passages.0.text: Field required)",
        ),
        (
            "blocked",
            Suspect(rule="a rule"),
            edited_result("review_answer", lambda v: v.update(verdict="of another version")),
            "the result of review_answer cannot be read (verdict: ",
        ),
        (
            "blocked",
            Suspect(rule="a rule"),
            edited_result("receive_input", lambda v: v.update(findings=[{"rule": "a rule"}])),
            "the result of receive_input cannot be read (findings.0.",
        ),
        (
            "blocked",
            Suspect(rule="a rule"),
            lambda events: completion_of("review_answer", events)["result"]["payloads"].clear(),
            "the result of review_answer cannot be read (it is empty)",
        ),
    ],
)
async def test_an_edited_step_clears_nobody(file: Path, name: str, suspect: Suspect, change: Any, said: str) -> None:
    """The answer whose step would tell is listed with the value that cannot be read; no other is open."""
    async with evidence(load(file)) as held, held.database.begin() as connection:
        await connection.execute(update(interaction_logs).values(citations="[]"))
    path = spoiled(file.parent, name, change)

    async def chain_of(conversation: str) -> Chain:
        if conversation != f"conv-{name}":
            return await chain(conversation.removeprefix("conv-"))
        (found,) = await from_files([path], data_converter)
        return found

    async with evidence(load(file)) as held:
        found = [each async for each, _ in affected(held, suspect, chain_of)]
    ((conversation, turn, problem),) = ((each.conversation, each.turn, each.problem) for each in found if not each.how)
    assert (conversation, turn) == (f"conv-{name}", 1)
    assert said in problem


class _Reruns:
    """Gives another answer."""

    verdict = "pass"

    async def run(self, turn: Turn, changes: Changes) -> RerunTurn:
        self.changes = changes
        other = turn.model_copy(update={"answer": "Within 14 days.", "verdict": self.verdict})
        failures = ("engine-lost: it is away",) if self.verdict == "failed" else ()
        return RerunTurn(turn=other, changes=changes, again=(), failures=failures)


def test_the_report_says_what_comes_out_otherwise_today(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To each person with what they were told and what they would be told now; 3 where it is another, 4 where one
    could not be asked."""
    kept = ["normal"]

    async def chain_of(conversation: str) -> Chain:
        name = conversation.removeprefix("conv-")
        if name not in kept:
            raise NoSuchHistory(f"workflow: {conversation} is away")
        return await chain(name)

    async def histories(*_: object) -> ChainOf:
        return chain_of

    @asynccontextmanager
    async def bench(_evidence: object) -> AsyncIterator[_Bench]:
        yield _Bench(tmp_path)

    monkeypatch.setattr(cli.replay_affected, "_histories", histories)
    monkeypatch.setattr(replay.rerun, "bench", bench)
    asked = ["replay", "affected", "--model", "dddd", "--ask-again"]
    assert run(asked) == 3
    said = capsys.readouterr().out
    assert "    answer    You have 30 days [1]." in said
    assert "    today     pass: Within 14 days." in said
    assert "2 come out otherwise today · 2 could not be checked" in said.splitlines()[-1]
    kept.clear()
    assert run(asked) == 4


class _Bench(_Reruns):
    """With the parts that tell what holds today."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.parts = folder, self

    def knowledge(self) -> KnowledgeBase:
        return KnowledgeBase(self._folder / "nothing")

    def models(self) -> dict[str, object]:
        return {"default": None}


async def test_an_answer_is_compared_with_todays(file: Path, tmp_path: Path) -> None:
    """Under all that holds now, but for what whoever asked had chosen; only what they were given counts."""
    settings = load(file)
    turn = (await story("normal")).turns[0]
    (first, *_) = await _found(file, Suspect(document="en/returns.md"))
    changes = todays(settings, KnowledgeBase(tmp_path / "nothing"), turn, ["default"])
    assert (changes.model, changes.snapshot, changes.policy) == ("default", None, "default")
    assert changes.settings["generation.max_tries"] == settings.generation.max_tries
    assert "generation.seed" not in changes.settings
    assert turn.plan is not None
    plan = rerun_plan(turn.plan, changes.model_copy(update={"model": None}), {}, "queue")
    asked, now = plan.generation, settings.generation  # the recorded message brought its own temperature and length
    assert (asked.top_p, asked.seed, plan.ladder.rungs) == (now.top_p, turn.plan.generation.seed, now.ladder)
    reruns = _Reruns()
    told = await ask_again(reruns, first, turn, changes)
    assert (told.same, told.today, told.answer) == (False, "Within 14 days.", turn.answer)
    assert reruns.changes == changes
    reruns.verdict = "failed"
    told = await ask_again(reruns, first, turn, changes)
    assert (told.same, told.today, told.problem) == (None, "", "engine-lost: it is away")
