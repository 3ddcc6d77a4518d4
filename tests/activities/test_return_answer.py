"""Whatever became of a turn, its reply is proved by a receipt over the row that the audit has of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from temporalio.testing import ActivityEnvironment

from activities.return_answer import ReturnAnswerStep
from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.faults import ReceiptInvalid
from dialogue.messages import TextFile, TurnKey, message_digest
from dialogue.plan import ModelPlan
from dialogue.receipt import Receipt, passages_digest
from dialogue.steps import Citation, ReturnAnswer, Verdict
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import WordList
from records.audit import AuditLog
from records.database import connect_database, migrate
from records.signing import Signer, check_receipt
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import SERVICES, PoolSettings, Settings

MODEL = ModelPlan(alias="default", name="m", digest="0" * 64, task_queue="q", languages=("en",), context=1024)
FILES = [TextFile(name="terms.txt", text="Thirty days.")]
CITED = Citation(number=1, document="r.md", title="Returns", section="", start=0, end=9, quote="30 days", support=1.0)


async def test_every_final_reply_carries_a_receipt(tmp_path: Path) -> None:
    """Of each verdict, over the text that was sent; the stream's last event has the same. Attempted again it is the
    same one."""
    settings = Settings(data=tmp_path, pools={"all": PoolSettings(serves=SERVICES)})
    planner = TurnPlanner(settings, {"default": Policy(PolicyRules(), WordList([]))}, {"default": MODEL})
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine, token_log, signer = connect_database(url), SqliteTokenLog(tmp_path / "log.db"), Signer.open(settings)
    audit = AuditLog(engine, signer=signer)
    step = ReturnAnswerStep(planner, audit, StreamEvents(token_log), signer)
    for turn, verdict in enumerate(get_args(Verdict), start=1):
        request = _request(turn, verdict)
        returned = await ActivityEnvironment().run(step.return_answer, request)
        receipt: Receipt | None = returned.receipt
        assert receipt is not None
        check_receipt(receipt, signer, question="How long?", files=FILES, answer=returned.reply)
        row = (await audit.turns("c", "default"))[-1]
        assert (receipt.audit_id, receipt.audit_hash) == (row.id, row.hash) == (returned.audit_id, returned.audit_hash)
        named = (receipt.passages, receipt.model, receipt.snapshot, receipt.policy)
        assert named == (passages_digest([CITED]), "a" * 64, "b" * 64, "c" * 64)
        (final,) = [event.data for event in await token_log.read(request.turn.stream) if event.kind == "final"]
        assert Receipt.model_validate(final["receipt"]) == receipt
        assert (await ActivityEnvironment().run(step.return_answer, request)).receipt == receipt
        with pytest.raises(ReceiptInvalid, match=r"^answer: "):
            check_receipt(receipt, signer, answer=f"{returned.reply} ")
    await token_log.close()
    await engine.dispose()


def _request(turn: int, verdict: Verdict, **more: Any) -> ReturnAnswer:
    return ReturnAnswer(
        turn=TurnKey(conversation="c", turn=turn, tenant="default"), user="ann", message_id=f"m{turn}",
        question="How long?", question_digest=message_digest("How long?", FILES), answer="30 days [1].",
        verdict=verdict, language="en", model="m", model_digest="a" * 64, snapshot="b" * 64, policy_digest="c" * 64,
        citations=(CITED,), received_at=1.0, **more,
    )  # fmt: skip
