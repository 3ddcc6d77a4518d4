"""A tenant's texts are in the log only where the tenant allows it, and then as the policy let them through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.testing import ActivityEnvironment

from activities.receive_input import ReceiveInputStep
from activities.return_answer import ReturnAnswerStep
from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.messages import TurnKey
from dialogue.plan import ModelPlan
from dialogue.steps import ReceiveInput, ReturnAnswer, Usage
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import WordList
from records.audit import AuditLog
from records.database import connect_database, migrate
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import SERVICES, PoolSettings, Settings, TenantSettings

_MODEL = ModelPlan(alias="default", name="m", digest="0" * 64, task_queue="q", languages=("en",), context=1024)
CARD = "4111 1111 1111 1111"


class _Words:
    """Counts words where a model would count tokens."""

    def count(self, text: str) -> int:
        return len(text.split())

    def special_strings(self) -> list[str]:
        return []


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_tenant_decides(tmp_path: Path, allowed: bool) -> None:
    """Both steps that hold a text; what the policy masks is masked there too."""
    settings = Settings(
        pools={"all": PoolSettings(serves=SERVICES)}, tenants={"acme": TenantSettings(log_texts=allowed)}
    )
    planner = TurnPlanner(settings, {"default": Policy(PolicyRules(), WordList([]))}, {"default": _MODEL})
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine, token_log = connect_database(url), SqliteTokenLog(tmp_path / "token_log.db")
    events, turn = StreamEvents(token_log), TurnKey(conversation="c", turn=1, tenant="acme")
    words: Any = {_MODEL.digest: _Words()}
    receive = ReceiveInputStep(planner, words, events).receive_input
    give_back = ReturnAnswerStep(planner, AuditLog(engine), events).return_answer
    said = ReceiveInput(turn=turn, message_id="m", text=f"My card is {CARD}, how long?", user="ann")
    answered = ReturnAnswer(
        turn=turn,
        user="ann",
        message_id="m",
        question="how long?",
        question_digest="",
        answer="Thirty days.",
        reasoning="",
        verdict="pass",
        language="en",
        usage=Usage(),
        received_at=1.0,
    )
    environment = ActivityEnvironment()
    with capture_logs() as lines:
        await environment.run(receive, said)
        await environment.run(give_back, answered)
    await token_log.close()
    await engine.dispose()
    told = {line["event"]: line["text"] for line in lines if "text" in line}
    assert set(told) == ({"message", "reply"} if allowed else set())
    assert CARD not in str(lines)
    assert not allowed or ("how long?" in told["message"] and told["reply"] == "Thirty days.")
    assert allowed or "how long" not in str(lines)
