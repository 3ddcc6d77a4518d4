"""What the audit tells a conversation that is opened again."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from temporalio.testing import ActivityEnvironment

from activities.recall_conversation import RecallConversationStep
from dialogue.steps import RecallConversation
from dialogue.turn import MAX_CARRIED_BYTES, Recalled
from records.audit import AuditLog
from records.data_keys import DataKeys
from records.database import connect_database, migrate, writing
from records.signing import Signer
from records.tables import interaction_logs
from records.tenant_keys import LocalKeys
from settings.schema import Settings
from tests.records.rows import a_row


async def test_long_turns_are_told_within_what_temporal_takes(tmp_path: Path) -> None:
    """The newest ones; how many there were, and their ids, in any case. A result of megabytes would never arrive."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    database = connect_database(url)
    try:
        audit = AuditLog(database)
        for turn in range(1, 6):
            await audit.append(a_row(turn=turn, input_text="退" * 30_000, output_text="no"))
        recall = RecallConversationStep(audit)
        asked = RecallConversation(conversation="conv-1", tenant="lantern")
        recalled = await ActivityEnvironment().run(recall.recall_conversation, asked)
    finally:
        await database.dispose()
    assert [turn.turn for turn in recalled.turns] == [4, 5]
    assert [used.turn for used in recalled.ids] == [1, 2, 3, 4, 5]
    assert recalled.total == 5
    assert len(recalled.model_dump_json().encode()) < 2 * MAX_CARRIED_BYTES


async def test_a_damaged_turn_is_passed_over(tmp_path: Path) -> None:
    """The conversation goes on from the others; a whole reply that is asked for has no receipt."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    database = connect_database(url)
    try:
        audit = AuditLog(database, DataKeys(database, LocalKeys(tmp_path / "site.keys", make=True)))
        for turn in (1, 2, 3):
            await audit.append(a_row(turn=turn))
        async with writing(database) as connection:
            for turn, name in ((2, "input_text"), (3, "reasoning")):
                of_turn = interaction_logs.c.turn == turn
                await connection.execute(update(interaction_logs).where(of_turn).values({name: "cut"}))
        recall = RecallConversationStep(audit, Signer.open(Settings(data=tmp_path)))
        asked = RecallConversation(conversation="conv-1", tenant="lantern")
        recalled = await ActivityEnvironment().run(recall.recall_conversation, asked)
        replies = [
            (await ActivityEnvironment().run(recall.recall_conversation, asked.model_copy(update={"turn": turn}))).reply
            for turn in (1, 2)
        ]
    finally:
        await database.dispose()
    assert [turn.turn for turn in recalled.turns] == [used.turn for used in recalled.ids] == [1, 3]
    assert recalled.total == 3
    assert [reply and reply.receipt is not None for reply in replies] == [True, False]


async def test_a_conversation_of_another_tenant_is_told_as_that_alone(tmp_path: Path) -> None:
    """Whoever opens it under its name learns nothing of its turns."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    database = connect_database(url)
    try:
        audit = AuditLog(database)
        await audit.append(a_row(turn=1))
        recall = RecallConversationStep(audit)
        foreign, never = [
            await ActivityEnvironment().run(
                recall.recall_conversation, RecallConversation(conversation=conversation, tenant="another")
            )
            for conversation in ("conv-1", "conv-2")
        ]
    finally:
        await database.dispose()
    assert foreign == Recalled(foreign=True)
    assert never == Recalled()
