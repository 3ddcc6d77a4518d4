from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import RecordsConflict
from records.audit import AuditLog
from records.database import writing
from records.tables import audit_heads
from tests.records.conftest import Child
from tests.records.rows import a_row


async def test_a_row_comes_back_as_it_was_given(audit: AuditLog) -> None:
    """Every field of a row survives the database."""
    given = a_row()
    receipt = await audit.append(given)
    kept = await audit.by_id(receipt.id)
    assert kept is not None
    assert kept.model_dump(include=set(given.model_dump())) == given.model_dump()
    assert (kept.id, kept.hash, kept.position) == (receipt.id, receipt.hash, 1)


async def test_a_row_with_next_to_nothing_is_kept(audit: AuditLog) -> None:
    """A turn that never came to a model leaves its row all the same."""
    nothing: dict[str, Any] = dict.fromkeys(("ip_address", "intent", "confidence", "model", "snapshot", "record"))
    await audit.append(a_row(**nothing, output_text="", citations=(), verdict="refused"))
    (kept,) = await audit.turns("conv-1", "lantern")
    assert (kept.verdict, kept.output_text, kept.model, kept.citations) == ("refused", "", None, ())


async def test_the_models_of_kept_answers_are_counted(audit: AuditLog) -> None:
    """By digest, of all tenants; a turn without a model names none."""
    await audit.append(a_row(turn=1, model_digest="a" * 64))
    await audit.append(a_row(turn=1, conversation="conv-2", tenant="harbour", model_digest="a" * 64))
    await audit.append(a_row(turn=2, model_digest="b" * 64))
    await audit.append(a_row(turn=3, model_digest=None))
    naming = await audit.naming("model_digest")
    assert {digest: each.count for digest, each in naming.items()} == {"a" * 64: 2, "b" * 64: 1}
    assert str(naming["b" * 64]).startswith("a kept answer names it: turn ")


async def test_text_that_no_database_takes_is_kept_all_the_same(audit: AuditLog) -> None:
    """NUL and lone surrogates become U+FFFD, so that a hostile message cannot go unrecorded."""
    row = a_row(input_text="a\0b\ud800c😀", note="\udfff")
    first = await audit.append(row)
    assert await audit.append(row) == type(first)(first.id, first.hash, created=False)
    (kept,) = await audit.turns("conv-1", "lantern")
    assert (kept.input_text, kept.note) == ("a�b�c😀", "�")
    assert await audit.verify() == []


async def test_twenty_attempts_at_once_write_one_row(audit: AuditLog) -> None:
    """The same row appended twenty times at once is one row, and all get its receipt."""
    receipts = await asyncio.gather(*(audit.append(a_row()) for _ in range(20)))
    assert sum(receipt.created for receipt in receipts) == 1
    assert len({(receipt.id, receipt.hash) for receipt in receipts}) == 1
    assert await audit.count() == 1


async def test_fifty_rows_at_once_all_succeed(audit: AuditLog) -> None:
    """Fifty different rows appended at once stand in one whole chain."""
    receipts = await asyncio.gather(*(audit.append(a_row(turn=turn)) for turn in range(1, 51)))
    assert all(receipt.created for receipt in receipts)
    kept = await audit.turns("conv-1", "lantern", limit=100)
    assert sorted(row.position for row in kept) == list(range(1, 51))
    assert await audit.verify() == []


async def test_processes_append_at_once(audit: AuditLog, url: str, child: Child) -> None:
    """Processes that append the same and different rows, for two tenants, leave each row once and whole chains."""
    jobs = [("lantern", "conv-1"), ("lantern", "conv-1"), ("lantern", "conv-2"), ("harbour", "conv-3")]
    children = [await child("append_rows", url, *job, 15, 5) for job in jobs]
    for process in children:
        assert await process.stdout.readline() == b"ready\n"
    for process in children:
        process.stdin.write(b"go\n")
    said = await asyncio.gather(*(process.communicate() for process in children))
    lines = [out.decode().splitlines() for out, _ in said]
    assert [len(each) for each in lines] == [15] * 4
    assert sum(line.endswith("True") for each in lines for line in each) == 45
    assert {" ".join(line.split()[:3]) for line in lines[0]} == {" ".join(line.split()[:3]) for line in lines[1]}
    assert (await audit.count("lantern"), await audit.count("harbour"), await audit.count()) == (30, 15, 45)
    assert await audit.verify() == []


async def test_a_killed_writer_leaves_the_chain_whole(audit: AuditLog, url: str, child: Child) -> None:
    """After kill -9 in the middle of appending, every row with a receipt is there, the chain is whole and goes on."""
    process = await child("append_rows", url, "lantern", "conv-1", 100_000, 4)
    process.stdin.write(b"go\n")
    assert await process.stdout.readline() == b"ready\n"
    receipts = [(await process.stdout.readline()).decode().split() for _ in range(10)]
    process.kill()
    await process.communicate()  # what is unread keeps wait() from ending
    for turn, id_, hash_, _ in receipts:
        kept = await audit.by_id(int(id_))
        assert kept is not None
        assert (kept.turn, kept.hash) == (int(turn), hash_)
    assert (await audit.append(a_row(conversation="conv-2"))).created
    assert await audit.verify() == []


async def test_a_later_attempt_gets_the_first_receipt(audit: AuditLog) -> None:
    """An attempt that took longer, or ran in another run, is still the same turn."""
    first = await audit.append(a_row(latency_ms=10, run_id="run-1"))
    second = await audit.append(a_row(latency_ms=99, run_id="run-2"))
    assert (second.id, second.hash, second.created) == (first.id, first.hash, False)
    (kept,) = await audit.turns("conv-1", "lantern")
    assert (kept.latency_ms, kept.run_id) == (10, "run-1")


async def test_another_content_of_a_turn_is_a_conflict(audit: AuditLog) -> None:
    """The first record stays; the fault names what differs and never its text."""
    await audit.append(a_row())
    with pytest.raises(RecordsConflict, match="recorded with another output_text, verdict") as caught:
        await audit.append(a_row(output_text="a secret", verdict="mask"))
    assert "secret" not in caught.value.message
    (kept,) = await audit.turns("conv-1", "lantern")
    assert kept.verdict == "pass"


async def test_a_turn_belongs_to_one_tenant(audit: AuditLog) -> None:
    """Two tenants that claim one conversation's turn at once: one row, the others get a conflict."""
    rows = [a_row(tenant=f"tenant-{number}") for number in range(8)]
    outcomes = await asyncio.gather(*(audit.append(row) for row in rows), return_exceptions=True)
    assert sum(isinstance(outcome, RecordsConflict) for outcome in outcomes) == 7
    assert await audit.count() == 1
    assert await audit.verify() == []


async def test_a_lost_head_stops_only_its_own_chain(audit: AuditLog, database: AsyncEngine) -> None:
    """Appending onto a chain whose head was removed is refused with the reason; other tenants go on."""
    await audit.append(a_row(turn=1))
    await audit.append(a_row(turn=2))
    async with writing(database) as connection:
        await connection.execute(audit_heads.delete())
    with pytest.raises(Exception, match="the chain of tenant lantern cannot go on from its head"):
        await audit.append(a_row(turn=3))
    assert (await audit.append(a_row(tenant="harbour", conversation="conv-2"))).id > 2
    assert [problem.message for problem in await audit.verify()] == ["tenant lantern: the head of its chain is gone."]


async def test_turns_are_read_page_by_page_oldest_first(audit: AuditLog) -> None:
    """The last turns come, oldest first; ``before`` gives the page before."""
    for turn in range(1, 8):
        await audit.append(a_row(turn=turn))
    assert [row.turn for row in await audit.turns("conv-1", "lantern", limit=3)] == [5, 6, 7]
    assert [row.turn for row in await audit.turns("conv-1", "lantern", limit=3, before=5)] == [2, 3, 4]


async def test_no_tenant_reads_another_ones_rows(audit: AuditLog) -> None:
    """A foreign tenant finds no turn, no row and no conversation."""
    receipt = await audit.append(a_row())
    assert await audit.turns("conv-1", "harbour") == []
    assert await audit.by_id(receipt.id, "harbour") is None
    assert await audit.by_id(receipt.id, "lantern") is not None
    assert await audit.conversations("harbour") == []
    assert await audit.count("harbour") == 0


async def test_conversations_are_listed_newest_first(audit: AuditLog) -> None:
    """Each with its turns and its first and last moment."""
    await audit.append(a_row(conversation="conv-1", turn=1, timestamp=100.5))
    await audit.append(a_row(conversation="conv-2", turn=1, timestamp=200.0))
    await audit.append(a_row(conversation="conv-1", turn=2, timestamp=300.25))
    first, second = await audit.conversations("lantern")
    assert (first.conversation, first.turns, first.first_at, first.last_at) == ("conv-1", 2, 100.5, 300.25)
    assert (second.conversation, second.turns) == ("conv-2", 1)
    assert await audit.conversations("lantern", limit=1) == [first]


async def test_feedback_of_any_conversation_can_be_kept(audit: AuditLog) -> None:
    """Temporal takes NUL in a workflow's id: it is written as in the id of a row."""
    await audit.keep_feedback(conversation="a\0b", turn=1, tenant="lantern", user="ann", score=1)
    assert [each.score for each in await audit.feedback("a\ufffdb", "lantern")] == [1]


async def test_the_last_feedback_wins(audit: AuditLog) -> None:
    """One opinion per turn and user; a foreign tenant can neither change nor read it."""
    turn: dict[str, Any] = {"conversation": "conv-1", "turn": 1, "user": "ann"}
    await audit.keep_feedback(**turn, tenant="lantern", score=-1, comment="wrong")
    await audit.keep_feedback(**turn, tenant="lantern", score=1, comment="对了")
    await audit.keep_feedback(**turn, tenant="harbour", score=-1, comment="theirs")
    await audit.keep_feedback(**{**turn, "user": "bo"}, tenant="lantern", score=0)
    kept = await audit.feedback("conv-1", "lantern")
    assert [(each.user, each.score, each.comment) for each in kept] == [("ann", 1, "对了"), ("bo", 0, "")]
    assert await audit.feedback("conv-1", "harbour") == []
