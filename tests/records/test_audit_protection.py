"""The audit under encryption: what is stored, what is forgotten, what is found, and what was done to it."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.testing import ActivityEnvironment

from activities.recall_conversation import RecallConversationStep
from dialogue.faults import ContentMissing, InvalidRequest, KeyDestroyed, KeyMissing, RecordsConflict
from dialogue.messages import Feedback
from knowledge_base.terms import terms
from records import audit as audit_module
from records import audit_checkpoints
from records.audit import AuditLog
from records.audit_chain import row_hash
from records.audit_exports import AuditExports
from records.audit_rows import KeptRow
from records.audit_seal import SEALED
from records.audit_search import AuditQuery, find_rows
from records.audit_words import AuditWords
from records.content import ContentStore
from records.data_keys import NOBODY, DataKeys, Destroyed
from records.database import reading, writing
from records.forgetting import forget_user
from records.signing import Signer
from records.tables import audit_checkpoints as checkpoints
from records.tables import audit_heads, audit_tails, audit_words, contents, data_keys, feedback, interaction_logs
from records.tenant_keys import LocalKeys
from settings.schema import Settings
from tests.records.rows import a_row

Finding = Callable[[str, str], Awaitable[list[int]]]
TEXTS = ("parcel", "退货", "三十天", "They ask", "192.0.2.7", "d" * 64, "30 天", "rather good")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(Settings(data=tmp_path))


@pytest.fixture
def sealed(database: AsyncEngine, keys: DataKeys, words: AuditWords, signer: Signer) -> AuditLog:
    return AuditLog(database, keys, words=words, signer=signer)


async def stored(database: AsyncEngine, table: Any = interaction_logs) -> list[dict[str, Any]]:
    async with reading(database) as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


@pytest.fixture
def finding(database: AsyncEngine, keys: DataKeys, words: AuditWords) -> Finding:
    """The ids of a tenant's rows that hold a text, newest first."""

    async def find(tenant: str, text: str) -> list[int]:
        query = AuditQuery(tenant=tenant, text=text)
        return [row.id for row in await find_rows(database, query, keys=keys, words=words)]

    return find


async def test_many_read_at_once_with_keys_that_nobody_has_read_yet(database: AsyncEngine, keys: DataKeys) -> None:
    """None of them keeps a connection while it waits for another: there are fewer than they are."""
    await AuditLog(database, keys).append(a_row())
    audit = AuditLog(database, DataKeys(database, keys._provider))
    read = await asyncio.gather(*(audit.turns("conv-1", "lantern") for _ in range(40)))
    assert [[row.input_text for row in rows] for rows in read] == [[a_row().input_text]] * 40


async def test_no_text_stands_in_the_tables(sealed: AuditLog, database: AsyncEngine) -> None:
    """Rows and comments read as they were written, and hold none of their words as they are stored."""
    row = a_row()
    await sealed.append(row)
    await sealed.keep_feedback(
        conversation="conv-1", turn=1, tenant="lantern", user="ann", score=1, comment="rather good"
    )
    (kept,) = await sealed.turns("conv-1", "lantern")
    assert {name: getattr(kept, name) for name in row.model_dump()} == dict(row)
    assert not kept.forgotten
    assert [given.comment for given in await sealed.feedback("conv-1", "lantern")] == ["rather good"]
    written = json.dumps([await stored(database), await stored(database, feedback)], default=str, ensure_ascii=False)
    assert not [text for text in TEXTS if text in written]
    assert await sealed.verify() == []


async def test_a_row_is_still_written_once(sealed: AuditLog, database: AsyncEngine, keys: DataKeys) -> None:
    """Attempted again it is the first one's receipt; another text is a conflict that names the column alone."""
    first = await sealed.append(a_row())
    again = await AuditLog(database, keys).append(a_row(latency_ms=9.0, run_id="run-2"))
    assert (again.id, again.hash, again.created) == (first.id, first.hash, False)
    with pytest.raises(RecordsConflict, match="another output_text") as raised:
        await sealed.append(a_row(output_text="secret"))
    assert "secret" not in raised.value.message


async def test_rows_of_before_stay_readable_in_one_chain(sealed: AuditLog, database: AsyncEngine) -> None:
    """A site may begin to encrypt; and the other way round, the texts are not there, and nothing else is lost."""
    plain = AuditLog(database)
    await plain.append(a_row(turn=1))
    await sealed.append(a_row(turn=2))
    await plain.append(a_row(turn=3))
    assert [row.input_text for row in await sealed.turns("conv-1", "lantern")] == [a_row().input_text] * 3
    assert [row.forgotten for row in await plain.turns("conv-1", "lantern")] == [False, True, False]
    assert await plain.verify() == await sealed.verify() == []
    assert (await plain.append(a_row(turn=2))).created is False


async def test_forgetting_leaves_the_chain_whole_and_no_text(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, finding: Finding
) -> None:
    """Rows, comments, contents and words of the user; of another user nothing changes."""
    store = ContentStore(database, keys)
    await keys.bind("conv-1", "lantern", "ann")
    record = await store.put("try", {"prompt_ids": [1, 2, 3]}, workflow="conv-1")
    for turn in (1, 2):
        await sealed.append(a_row(turn=turn))
    await sealed.append(a_row(turn=3, user_id="bob"))
    await sealed.keep_feedback(conversation="conv-1", turn=1, tenant="lantern", user="ann", score=1, comment="good")
    before = await stored(database)
    exports = AuditExports(database, sealed)
    done = await forget_user(database, keys, words, exports, "lantern", "ann")
    assert (done.keys, done.workflows, done.in_clear.rows) == (1, ("conv-1",), 0)
    assert await stored(database) == before
    assert await sealed.verify() == []
    rows = await sealed.turns("conv-1", "lantern")
    assert [(row.forgotten, bool(row.input_text)) for row in rows] == [(True, False), (True, False), (False, True)]
    assert rows[0].verdict == "pass"
    assert rows[0].citations == ()
    assert [given.comment for given in await sealed.feedback("conv-1", "lantern")] == [""]
    with pytest.raises(KeyDestroyed):
        await store.get(record)
    assert await finding("lantern", "parcel") == [rows[2].id]
    assert {row["row_id"] for row in await stored(database, audit_words)} == {rows[2].id}
    assert (await forget_user(database, keys, words, exports, "lantern", "ann")).keys == 0


async def test_what_is_attempted_again_after_forgetting_makes_no_key(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys
) -> None:
    """The row that was written stands; of a turn that was under way nothing is kept, also by a process that knew the
    key; who comes back to the conversation begins anew."""
    await keys.bind("conv-1", "lantern", "ann")
    first = await sealed.append(a_row(turn=1))
    stale = DataKeys(database, keys._provider)
    await stale.of_user("lantern", "ann")
    await keys.destroy("lantern", "ann")
    known = await stored(database, data_keys)
    other = AuditLog(database, DataKeys(database, keys._provider))
    for log in (sealed, other, AuditLog(database, stale)):
        again = await log.append(a_row(turn=1, latency_ms=9.0))
        assert (again.hash, again.created) == (first.hash, False)
        with pytest.raises(KeyDestroyed, match="conversation conv-1: its user was forgotten"):
            await log.append(a_row(turn=2))
    assert await stored(database, data_keys) == known
    assert await sealed.count() == 1
    await keys.bind("conv-1", "lantern", "ann")
    assert (await other.append(a_row(turn=2))).created
    assert [row.forgotten for row in await other.turns("conv-1", "lantern")] == [True, False]


async def test_what_was_under_way_is_not_kept_under_the_key_of_who_is_back_elsewhere(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys
) -> None:
    """Neither a turn nor a comment that a workflow hands on, which is no failure of it; what they say now is kept."""
    await keys.bind("conv-1", "lantern", "ann")
    await sealed.append(a_row(turn=1))
    back = DataKeys(database, keys._provider)
    await back.destroy("lantern", "ann")
    given = {"turn": 1, "tenant": "lantern", "user": "ann", "score": 1, "comment": "rather good"}
    with pytest.raises(KeyDestroyed, match="conversation conv-1"):
        await sealed.keep_feedback(conversation="conv-1", **given, under_way=True)
    assert await back.held("lantern", "ann") is None
    await back.bind("conv-2", "lantern", "ann")
    remembering = AuditLog(database, back)
    await remembering.append(a_row(conversation="conv-2"))
    for log in (sealed, remembering, AuditLog(database, DataKeys(database, keys._provider))):
        assert not (await log.append(a_row(turn=1, latency_ms=9.0))).created
        with pytest.raises(KeyDestroyed, match="conversation conv-1: its user was forgotten"):
            await log.append(a_row(turn=2))
        await ActivityEnvironment().run(RecallConversationStep(log).keep_feedback, "conv-1", Feedback(**given))
    assert await sealed.count() == 2
    assert await sealed.feedback("conv-1", "lantern") == []
    await remembering.keep_feedback(conversation="conv-1", **given)
    assert [each.comment for each in await remembering.feedback("conv-1", "lantern")] == ["rather good"]
    await back.bind("conv-1", "lantern", "ann")
    assert (await remembering.append(a_row(turn=2))).created


async def test_who_is_forgotten_elsewhere_and_comes_back_has_rows_under_the_new_key(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, finding: Finding
) -> None:
    """Though this process remembers the old one; its words are found, and those of before are not."""
    await keys.bind("conv-1", "lantern", "ann")
    await sealed.append(a_row(turn=1))
    elsewhere = DataKeys(database, keys._provider)
    words = AuditWords(database, terms, elsewhere)
    await forget_user(database, elsewhere, words, AuditExports(database, sealed), "lantern", "ann")
    await keys.bind("conv-1", "lantern", "ann")
    row = await sealed.append(a_row(turn=2))
    read = AuditLog(database, DataKeys(database, keys._provider))
    assert [(kept.forgotten, bool(kept.input_text)) for kept in await read.turns("conv-1", "lantern")] == [
        (True, False),
        (False, True),
    ]
    assert await finding("lantern", "parcel") == [row.id]


class ForgottenMeanwhile(AuditWords):
    """Another process forgets the user between sealing and writing."""

    async def marks(self, tenant: str, texts: Sequence[str]) -> list[bytes]:
        elsewhere = DataKeys(self._engine, self._keys._provider)  # type: ignore[union-attr]
        words = AuditWords(self._engine, terms, elsewhere)
        await forget_user(
            self._engine, elsewhere, words, AuditExports(self._engine, AuditLog(self._engine)), tenant, "ann"
        )
        return await super().marks(tenant, texts)


async def test_a_row_whose_key_goes_while_it_is_written_is_not_kept(database: AsyncEngine, keys: DataKeys) -> None:
    """Nor a word of it: nobody would take that out of the index again."""
    log = AuditLog(database, keys, words=ForgottenMeanwhile(database, terms, keys))
    with pytest.raises(KeyDestroyed, match="destroyed when its user was forgotten"):
        await log.append(a_row())
    assert await log.count() == 0
    assert await stored(database, audit_words) == []
    assert await log.verify() == []


async def test_a_known_users_row_asks_the_database_once(
    database: AsyncEngine, keys: DataKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose key it is, is held against the database where the row is written, and not beforehand too."""
    log = AuditLog(database, keys)
    await log.append(a_row(turn=1))
    begun: list[None] = []
    event.listen(database.sync_engine, "begin", lambda _: begun.append(None))
    for turn in (2, 3):
        assert (await log.append(a_row(turn=turn))).created
    assert len(begun) == 2
    assert [row.input_text for row in await log.turns("conv-1", "lantern")] == [a_row().input_text] * 3


class ForgetsFirst(AuditExports):
    """Another process forgets the user when all rows are in the file, and the file has no name yet."""

    def __init__(self, engine: AsyncEngine, audit: AuditLog, keys: DataKeys) -> None:
        super().__init__(engine, audit)
        self._keys = DataKeys(engine, keys._provider)

    async def keep(self, written: Any, *more: Any) -> None:
        words = AuditWords(self._engine, terms, self._keys)
        plain = AuditExports(self._engine, self._audit)
        assert (await forget_user(self._engine, self._keys, words, plain, "lantern", "ann")).exports == ()
        await super().keep(written, *more)


async def test_there_is_no_file_of_who_was_forgotten_while_it_was_written(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, tmp_path: Path
) -> None:
    """Nobody would be told of it. The next one has the row without its texts."""
    await sealed.append(a_row(turn=1))
    await sealed.append(a_row(turn=2, user_id="bob"))
    exports = ForgetsFirst(database, sealed, keys)
    with pytest.raises(KeyDestroyed, match=r"rows\.csv: a user .* was forgotten meanwhile.*export again"):
        await exports.write(tmp_path / "rows.csv", "lantern")
    assert not [name for name in names_in(tmp_path) if "rows" in name]
    assert await exports.holding("lantern", "bob") == []
    again = await AuditExports(database, AuditLog(database, DataKeys(database, keys._provider))).write(
        tmp_path / "rows.csv", "lantern"
    )
    assert again is not None
    with (tmp_path / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [(row["forgotten"], bool(row["input_text"])) for row in csv.DictReader(file)] == [
            ("True", False),
            ("False", True),
        ]


async def test_a_file_of_just_before_the_keys_went_is_named(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, tmp_path: Path
) -> None:
    """Forgetting asks for the files when no more can be written."""
    await sealed.append(a_row())
    exports, file = AuditExports(database, sealed), tmp_path / "rows.csv"

    class WrittenFirst(DataKeys):
        async def destroy(self, tenant: str, user: str) -> Destroyed:
            await exports.write(file, tenant)
            return await super().destroy(tenant, user)

    done = await forget_user(database, WrittenFirst(database, keys._provider), words, exports, "lantern", "ann")
    assert [each.place for each in done.exports] == [str(file)]


async def test_a_lost_key_file_is_missed_and_forgets_nobody(
    sealed: AuditLog, database: AsyncEngine, tmp_path: Path
) -> None:
    """The rows are no forgotten user's: who reads, writes or exports them is told which key is not there."""
    await sealed.append(a_row())
    strange = AuditLog(database, DataKeys(database, LocalKeys(tmp_path / "other.keys", make=True)))
    with pytest.raises(KeyMissing, match=r"encryption\.key_file: .*other\.keys has no key") as raised:
        await strange.turns("conv-1", "lantern")
    assert not isinstance(raised.value, KeyDestroyed)
    with pytest.raises(KeyMissing, match="has no key"):
        await strange.append(a_row(turn=2))
    assert await strange.verify() == []
    file = tmp_path / "rows.csv"
    for log, words in ((strange, "has no key"), (AuditLog(database), r"encryption\.provider: is none")):
        with pytest.raises(KeyMissing, match=words):
            await AuditExports(database, log).write(file, "lantern")
    assert not any("rows" in name for name in names_in(tmp_path))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_contents_of_a_turn_are_sealed_and_the_sites_own_are_not(database: AsyncEngine, keys: DataKeys) -> None:
    """A policy is nobody's; damage and a missing provider are told apart."""
    store, plain = ContentStore(database, keys), ContentStore(database)
    record = await store.put("try", {"text": "zebra"}, workflow="conv-1")
    policy = await store.put("policy", b"rules")
    assert await store.get(record) == b'{"text":"zebra"}'
    assert await plain.get(policy) == b"rules"
    assert {row["kind"]: row["data_key"] is None for row in await stored(database, contents)} == {
        "try": False,
        "policy": True,
    }
    with pytest.raises(KeyMissing, match=r"encryption\.provider"):
        await plain.get(record)
    with pytest.raises(ContentMissing):
        await store.get("0" * 64)


# words ----------------------------------------------------------------------------------------------


async def test_words_are_found_and_not_readable(sealed: AuditLog, database: AsyncEngine, finding: Finding) -> None:
    """In both languages, in any form, newest first, within the tenant; the table holds none of them."""
    first = (await sealed.append(a_row(turn=1))).id
    shoes = a_row(turn=2, input_text="Shoes?", output_text="运费由我们承担", timestamp=a_row().timestamp + 1)
    second = (await sealed.append(shoes)).id
    other = (await sealed.append(a_row(turn=9, tenant="other", conversation="conv-2"))).id
    assert await finding("lantern", "PARCELS") == [first]
    assert await finding("lantern", "退货") == [first]
    assert await finding("lantern", "shoe 运费") == [second]
    assert await finding("lantern", "shoe 退货") == []
    assert await finding("lantern", "the") == []
    assert await finding("other", "parcel") == [other]
    rows = await stored(database, audit_words)
    assert not any(term.encode() in row["word"] for row in rows for term in ("parcel", "shoe", "退"))
    marks = {tenant: {row["word"] for row in rows if row["tenant"] == tenant} for tenant in ("lantern", "other")}
    assert not marks["lantern"] & marks["other"]  # the same text, under another key


async def test_what_is_found_stands_in_the_index(
    sealed: AuditLog, database: AsyncEngine, finding: Finding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many rows those alone are opened whose words the index has; and a look makes no key."""
    for turn in range(1, 21):
        await sealed.append(a_row(turn=turn, input_text="A lamp." if turn == 7 else "A parcel."))
    before, opened = await stored(database, data_keys), list[int]()
    of_columns = KeptRow.of_columns

    def counted(columns: Mapping[Any, Any], **more: Any) -> KeptRow:
        opened.append(columns["turn"])
        return of_columns(columns, **more)

    monkeypatch.setattr(KeptRow, "of_columns", counted)
    assert len(await finding("lantern", "lamps")) == 1
    assert opened == [7]
    assert await finding("nobody", "lamps") == []
    assert await stored(database, data_keys) == before


async def test_rows_of_before_the_index_are_found_too(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, finding: Finding
) -> None:
    """Sealed or in clear, beside those that are in it."""
    rows = [
        await AuditLog(database).append(a_row(turn=1)),
        await AuditLog(database, keys).append(a_row(turn=2)),
        await sealed.append(a_row(turn=3)),
        await sealed.append(a_row(turn=4, input_text="Shoes?", output_text="Yes.")),
    ]
    assert sorted(await finding("lantern", "parcel")) == [row.id for row in rows[:3]]


async def test_words_of_before_are_found_under_encryption_too(database: AsyncEngine, finding: Finding) -> None:
    """Where nothing was encrypted the index had no key."""
    row = await AuditLog(database, words=AuditWords(database, terms)).append(a_row())
    assert await finding("lantern", "parcel") == [row.id]


async def test_a_key_of_the_index_that_does_not_open_costs_time_and_no_row(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys
) -> None:
    """What is written meanwhile, and what was marked before, are found by opening each row."""
    rows = [(await sealed.append(a_row(turn=1))).id]
    await sealed.append(a_row(turn=2, input_text="Shoes?", output_text="Yes."))
    async with writing(database) as connection:
        damaged = update(data_keys).where(data_keys.c.user_id == NOBODY).values(wrapped=b"x" * 61)
        assert (await connection.execute(damaged)).rowcount == 1
    fresh = DataKeys(database, keys._provider)
    words = AuditWords(database, terms, fresh)
    rows.append((await AuditLog(database, fresh, words=words).append(a_row(turn=3))).id)
    found = await find_rows(database, AuditQuery(tenant="lantern", text="parcels"), keys=fresh, words=words)
    assert [row.id for row in found] == rows[::-1]


# what was done to it --------------------------------------------------------------------------------


async def test_a_chain_that_was_written_anew_is_found_by_its_checkpoints(
    sealed: AuditLog, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write every row and the head makes a chain that holds; they do not have the key that signs."""
    for module in (audit_module, audit_checkpoints):
        monkeypatch.setattr(module, "EVERY", 3)
    for turn in range(1, 8):
        await sealed.append(a_row(turn=turn))
    assert [row["position"] for row in await stored(database, checkpoints)] == [3, 6]
    assert await sealed.verify() == []
    rows = sorted(await stored(database), key=lambda row: row["position"])
    before = rows[0]["hash"]
    async with writing(database) as connection:
        for row in rows[1:]:
            new = {**row, "verdict": "block", "previous_hash": before}
            before = new["hash"] = row_hash(new)
            await connection.execute(update(interaction_logs).where(interaction_logs.c.id == row["id"]).values(new))
        await connection.execute(update(audit_heads).values(hash=before))
    assert [(p.kind, p.position) for p in await sealed.verify()] == [("changed", 3), ("changed", 6)]
    async with writing(database) as connection:
        await connection.execute(update(checkpoints).where(checkpoints.c.position == 6).values(hash=rows[5]["hash"]))
        await connection.execute(checkpoints.delete().where(checkpoints.c.position == 3))
    assert [p.kind for p in await sealed.verify()]


async def test_a_checkpoint_of_another_key_and_a_lost_one_are_found(
    sealed: AuditLog, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither signing again nor taking one away goes unnoticed."""
    for module in (audit_module, audit_checkpoints):
        monkeypatch.setattr(module, "EVERY", 2)
    for turn in range(1, 7):
        await sealed.append(a_row(turn=turn))
    other = AuditLog(database, signer=Signer.open(Settings(data=tmp_path / "other")))
    assert [p.message for p in await other.verify()] == [
        f"tenant lantern: the checkpoint at position {n} was not signed by this site's key." for n in (2, 4, 6)
    ]
    async with writing(database) as connection:
        await connection.execute(checkpoints.delete().where(checkpoints.c.position == 4))
    assert [(p.kind, p.position) for p in await sealed.verify()] == [("removed", 4)]
    async with writing(database) as connection:
        await connection.execute(checkpoints.delete().where(checkpoints.c.position == 6))
    assert [p.message for p in await sealed.verify()] == [
        "tenant lantern: the checkpoints at positions 4 to 6 are gone."
    ]


# exports --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
async def test_an_export_holds_the_rows_and_is_kept(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, tmp_path: Path, suffix: str
) -> None:
    """In clear, for its owner alone; who forgets a user is told of the files that hold them."""
    await sealed.append(a_row(turn=1, output_text="=HYPERLINK(1)"))
    await sealed.append(a_row(turn=2, user_id="bob"))
    exports, path = AuditExports(database, sealed), tmp_path / f"rows{suffix}"
    made = await exports.write(path, "lantern")
    assert made is not None
    export = made.export
    assert (made.rows, export.first, export.last) == (2, 1, 2)
    assert path.stat().st_mode & 0o777 == 0o600
    rows = read(path)
    assert [row["user_id"] for row in rows] == ["ann", "bob"]
    assert rows[0]["input_text"] == a_row().input_text
    assert rows[0]["output_text"] == ("'=HYPERLINK(1)" if suffix == ".csv" else "=HYPERLINK(1)")
    with pytest.raises(InvalidRequest, match="is there already"):
        await exports.write(path, "lantern")
    await exports.write(tmp_path / f"bob{suffix}", "lantern", user="bob")
    late = {"since": datetime(2100, 1, 1, tzinfo=UTC)}
    assert await exports.write(tmp_path / f"none{suffix}", "lantern", **late) is None
    assert not (tmp_path / f"none{suffix}").exists()
    assert [held.place for held in await exports.holding("lantern", "ann")] == [str(path)]
    # once the retention has removed rows, nobody knows any more whose they were
    async with writing(database) as connection:
        tail = {"tenant": "lantern", "position": 2, "hash": "0" * 64, "timestamp": datetime.now(UTC)}
        await connection.execute(interaction_logs.delete())
        await connection.execute(audit_tails.insert().values(tail))
    done = await forget_user(database, keys, words, exports, "lantern", "ann")
    assert [held.place for held in done.exports] == [str(path)]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


async def test_another_suffix_or_folder_is_refused(sealed: AuditLog, database: AsyncEngine, tmp_path: Path) -> None:
    """Before a row is read."""
    exports = AuditExports(database, sealed)
    with pytest.raises(InvalidRequest, match=r"\.csv or \.parquet"):
        await exports.write(tmp_path / "rows.xlsx", "lantern")
    with pytest.raises(InvalidRequest, match="no folder"):
        await exports.write(tmp_path / "nowhere" / "rows.csv", "lantern")


def test_what_is_sealed_is_named_once() -> None:
    """A text column that is added has to be sealed or to be on this list."""
    names = {column.name for column in interaction_logs.c}
    open_ = {
        "id", "tenant", "position", "conversation", "turn", "message_id", "user_id", "timestamp", "latency_ms",
        "language", "verdict", "intent", "confidence", "model", "model_digest", "snapshot", "policy_digest", "record",
        "usage", "run_id", "data_key", "previous_hash", "hash",
    }  # fmt: skip
    assert names == open_ | set(SEALED)
