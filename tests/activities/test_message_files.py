"""Files in the first and in the last step: judged and counted, then named in the audit row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.receive_input import ReceiveInputStep
from activities.return_answer import ReturnAnswerStep
from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.faults import MessageTooLong
from dialogue.messages import TextFile, TurnKey, message_digest, message_stream
from dialogue.plan import ModelPlan
from dialogue.steps import NamedFile, ReceiveInput, ReturnAnswer
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import ListedWord, WordList
from records.audit import AuditLog
from records.database import connect_database, migrate
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import SERVICES, PoolSettings, Settings, TenantSettings

MODEL = ModelPlan(alias="default", name="m", digest="0" * 64, task_queue="q", languages=("en",), context=1024)
TURN = TurnKey(conversation="c", turn=1, tenant="acme")


class Words:
    """Counts words where a model would count tokens."""

    def count(self, text: str) -> int:
        return len(text.split())

    def special_strings(self) -> list[str]:
        return []


def planner_of(tenant: TenantSettings) -> TurnPlanner:
    settings = Settings(pools={"all": PoolSettings(serves=SERVICES)}, tenants={"acme": tenant})
    policy = Policy(PolicyRules(), WordList([ListedWord("blockedword", 3, "test")]))
    return TurnPlanner(settings, {"default": policy}, {"default": MODEL})


async def test_a_file_goes_through_the_first_and_the_last_step(tmp_path: Path) -> None:
    """A blocked word in it refuses the message; the stream's digest and the row know the file."""
    planner = planner_of(TenantSettings())
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine, token_log = connect_database(url), SqliteTokenLog(tmp_path / "token_log.db")
    events, audit, environment = StreamEvents(token_log), AuditLog(engine), ActivityEnvironment()
    words: Any = {MODEL.digest: Words()}
    receive = ReceiveInputStep(planner, words, events).receive_input
    file = TextFile(name="terms.txt", text="three more words")
    bad = TextFile(name="b.txt", text="blockedword")

    said = ReceiveInput(turn=TURN, message_id="m", text="How long?", user="ann", files=(file,))
    received = await environment.run(receive, said)
    refused = await environment.run(receive, said.model_copy(update={"files": (file, bad)}))
    assert (received.decision, received.tokens, received.files[0].text) == ("pass", 5, file.text)
    assert refused.decision == "refuse"
    assert refused.refusal
    (accepted,) = await token_log.read(message_stream("c", "m"))
    assert accepted.data["text_digest"] == message_digest("How long?", [file])

    answered = ReturnAnswer(
        turn=TURN,
        user="ann",
        message_id="m",
        question="How long?",
        question_digest="",
        files=(NamedFile(name=file.name, digest=received.files[0].digest),),
        answer="Thirty days.",
        verdict="pass",
        language="en",
        received_at=1.0,
        note="why",
    )
    await environment.run(ReturnAnswerStep(planner, audit, events).return_answer, answered)
    (row,) = await audit.turns("c", "acme", limit=1)
    assert row.note == f"why · files: terms.txt (sha256 {received.files[0].digest})"
    await token_log.close()
    await engine.dispose()


async def test_no_message_is_longer_than_its_tenant_allows(tmp_path: Path) -> None:
    """Nor its files together, whoever started the workflow; a tenant may allow more than what is set as it comes."""
    token_log = SqliteTokenLog(tmp_path / "token_log.db")
    words: Any = {MODEL.digest: Words()}

    async def received(most: int, text: str, *files: str) -> int:
        step = ReceiveInputStep(planner_of(TenantSettings(max_characters=most)), words, StreamEvents(token_log))
        brought = tuple(TextFile(name="a.txt", text=each) for each in files)
        said = ReceiveInput(turn=TURN, message_id="m", text=text, user="ann", files=brought)
        return len((await ActivityEnvironment().run(step.receive_input, said)).text)

    assert await received(10, "x" * 10, "y" * 6, "z" * 4) == 10
    assert await received(9_000, "x y " * 2_250) == 9_000
    for field, text, files in (("text: has 11", "x" * 11, ()), ("files: have 11", "x", ("y" * 6, "z" * 5))):
        with pytest.raises(MessageTooLong, match=rf"{field} characters.* Send at most 10\."):
            await received(10, text, *files)
    assert not MessageTooLong.retryable
    await token_log.close()
