"""Data keys: one for each user of a tenant, wrapped by the tenant's key; whose payloads a workflow's are; forgetting.

A key is its users'. A workflow is bound to the key of whoever it began with, before it starts. When another user
speaks in it, it goes on under a key of its own that is all of theirs; another tenant's are refused. Forgetting a user
destroys every key that is theirs: what was sealed under it, here, in histories and in backups of them, opens nowhere
any more. What a stranger started over an SDK gets a key that is nobody's until the first step tells who it was.

What a key is, is remembered for a while; which one is whose now is asked each time something new is begun under it, or
held against the database within the transaction that writes it.

Tables: ``data_keys``, ``key_users``, ``workflow_keys``. A destroyed key keeps its row, without the key.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Select, and_, delete, exists, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import InvalidRequest, KeyDestroyed, KeyMissing, UnknownConversation, unknown_conversation
from records.database import reading, writing
from records.key_wrapping import NOBODY, KeyNeeded, KeyWrapping, Ready
from records.seal import DataKey
from records.short_memory import ShortMemory
from records.statements import insert
from records.tables import data_keys, interaction_logs, key_users, workflow_keys
from records.tenant_keys import KeyProvider, Wrapped

__all__ = ["NOBODY", "DataKeys", "Destroyed"]

keys, users, workflows = data_keys.c, key_users.c, workflow_keys.c


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What forgetting a user did: the keys destroyed now, and the workflows whose payloads were under them."""

    keys: int
    workflows: tuple[str, ...]


class DataKeys:
    """Every method may raise RecordsUnavailable, KeysUnavailable and KeyMissing.

    ``remember_seconds``: how long a key, or which one a workflow's is, is not asked for again.
    """

    def __init__(self, engine: AsyncEngine, provider: KeyProvider, *, remember_seconds: float = 60) -> None:
        self._engine = engine
        self._provider = provider
        self._wrapping = KeyWrapping(engine, provider)
        self._opened = ShortMemory[str, DataKey](remember_seconds)
        self._of_user = ShortMemory[tuple[str, str], str](remember_seconds)
        self._of_workflow = ShortMemory[str, str](remember_seconds)

    # whose key ------------------------------------------------------------------------------------

    async def of_user(self, tenant: str, user: str) -> DataKey:
        """The key that new texts of this user are sealed with; made when it is first asked for."""
        try:
            return await self.by_id(await self._current(tenant, user))
        except KeyDestroyed:  # forgotten since; who comes back begins anew
            return await self.by_id(await self._current(tenant, user))

    async def held(self, tenant: str, user: str) -> DataKey | None:
        """The same where there is one: a look makes none. None for a user who was forgotten, or never spoke."""
        async with reading(self._engine) as connection:
            id_ = (await connection.execute(_current_of(tenant, user))).scalar_one_or_none()
        if id_ is None:
            return None
        self._of_user.put((tenant, user), id_)
        try:
            return await self.by_id(id_)
        except KeyDestroyed:
            return None

    def remembered(self, tenant: str, user: str) -> DataKey | None:
        """The key that was theirs when it was last asked for, without asking. It may be destroyed since, and until then
        it stays theirs: only for what is written where :meth:`hold` says that it is not."""
        id_ = self._of_user.get((tenant, user))
        return None if id_ is None else self._opened.get(id_)

    async def hold(self, connection: AsyncConnection, id_: str) -> None:
        """Within the transaction that writes what is sealed under that key: until it ends nobody destroys it. Raises
        KeyDestroyed."""
        query = select(keys.wrapped).where(keys.id == id_).with_for_update(read=True)
        if (await connection.execute(query)).scalar_one_or_none() is None:
            raise _destroyed(id_)

    async def is_destroyed(self, workflow_id: str, connection: AsyncConnection | None = None) -> bool:
        """Whether a workflow's payloads are under a key that went with its user. Makes none. ``connection``: of the
        transaction within which it is asked."""
        if connection is None:
            async with reading(self._engine) as own:
                return await self.is_destroyed(workflow_id, own)
        bound = (await connection.execute(_key_of(workflow_id))).first()
        return bound is not None and bound.wrapped is None

    async def by_id(self, id_: str) -> DataKey:
        """Raises KeyDestroyed for a key that was, and KeyMissing for one that never was here."""
        key = self._opened.get(id_)
        if key is None:
            query = select(keys.tenant, keys.wrapped, keys.wrapped_by).where(keys.id == id_)
            async with reading(self._engine) as connection:
                row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise KeyMissing(f"key {id_}: was never in this database. Open this where it was written.")
            if row.wrapped is None:
                raise _destroyed(id_)
            opened = await self._provider.unwrap(row.tenant, Wrapped(row.wrapped_by, row.wrapped))
            key = DataKey(id_, opened)
            self._opened.put(id_, key)
        return key

    async def knows(self, id_: str) -> bool:
        """Whether a key of this id was ever here, destroyed or not."""
        async with reading(self._engine) as connection:
            return (await connection.execute(select(keys.id).where(keys.id == id_))).first() is not None

    async def of_workflow(self, workflow_id: str) -> DataKey:
        """The key that new payloads of this workflow are sealed with. One that is not bound yet gets a key of its own,
        which becomes a user's with the first :meth:`bind`."""
        id_ = self._of_workflow.get(workflow_id)
        if id_ is None:
            id_ = await self._workflow_key(workflow_id)
            self._of_workflow.put(workflow_id, id_)
        return await self.by_id(id_)

    # whose workflow -------------------------------------------------------------------------------

    async def bind(self, workflow_id: str, tenant: str, user: str, *, takes_over: bool = True) -> None:
        """Says who speaks in a workflow: before it starts, and before another user's message is sent to it.

        ``takes_over``: what was nobody's is theirs from now on. Not before the workflow itself let them speak: whose it
        is, it alone knows. Raises UnknownConversation where it is another tenant's, and changes nothing then.
        """
        query = _key_of(workflow_id).join(key_users, users.key_id == keys.id)
        theirs = (keys.tenant == tenant, users.tenant == tenant, users.user_id == user, keys.wrapped.is_not(None))
        async with reading(self._engine) as connection:
            bound = (await connection.execute(query.where(*theirs))).one_or_none()
        if bound is not None:
            id_ = bound.id
        else:
            id_ = await self._written(
                lambda connection, ready: self._bind(connection, ready, workflow_id, tenant, user, takes_over)
            )
        self._is_under(workflow_id, id_)

    def _is_under(self, workflow_id: str, id_: str) -> None:
        known = self._of_workflow.get(workflow_id)
        if known != id_:
            self._of_workflow.put(workflow_id, id_)
            if known is not None:  # it may be destroyed
                self._opened.drop(known)

    async def noticed(self, workflow_id: str, id_: str, *, from_outside: bool) -> None:
        """A payload of this workflow is under that key: what was known of it holds no longer where it is another.
        ``from_outside``: a remote codec sealed it, which knows users and no workflows. The workflow becomes theirs too,
        before anything of the payload is sealed again: also where its key went with a user who came back since, and not
        where it is another tenant's. Raises KeyDestroyed where they were forgotten while it was on its way, though this
        process may remember their key: the workflow stays as it is then."""
        if not from_outside:
            if self._of_workflow.get(workflow_id) != id_:
                self._of_workflow.drop(workflow_id)
            return
        async with reading(self._engine) as connection:
            bound = (await connection.execute(_key_of(workflow_id))).one_or_none()
            wrapped = (await connection.execute(select(keys.wrapped).where(keys.id == id_))).scalar_one_or_none()
            joining = [] if bound is None else (await connection.execute(_joining(id_, bound.id))).all()
        if bound is not None and bound.wrapped is not None:
            self._is_under(workflow_id, bound.id)
        if wrapped is None:
            self._opened.drop(id_)
            raise _destroyed(id_)
        if bound is None or bound.wrapped is None:
            await self._begin_anew(workflow_id, id_)
            return
        for tenant, user in joining:
            with suppress(UnknownConversation):  # it became another tenant's meanwhile
                await self._join(workflow_id, id_, tenant, user)

    async def _begin_anew(self, workflow_id: str, id_: str) -> None:
        async with writing(self._engine) as connection:
            await self._begin(connection, workflow_id, id_)
            theirs = (workflows.workflow_id == workflow_id, workflows.key_id.in_(_gone_before(id_)))
            await connection.execute(workflow_keys.update().where(*theirs).values(key_id=id_))
            await self.hold(connection, id_)
        self._of_workflow.drop(workflow_id)

    async def _join(self, workflow_id: str, id_: str, tenant: str, user: str) -> None:
        """Binds a workflow to whose that key is, as long as it is there: a key of both would bring back who was
        forgotten."""

        async def act(connection: AsyncConnection, ready: Ready | None) -> str:
            query = select(workflows.key_id).where(workflows.workflow_id == workflow_id).with_for_update()
            both = {id_, *(await connection.execute(query)).scalars()}
            # In the order of their ids, as whoever forgets goes through them: else two might wait for each other.
            held = select(keys.id, keys.wrapped).where(keys.id.in_(both)).order_by(keys.id).with_for_update()
            if any(row.id == id_ and row.wrapped is None for row in await connection.execute(held)):
                raise _destroyed(id_)
            return await self._bind(connection, ready, workflow_id, tenant, user, takes_over=False)

        self._is_under(workflow_id, await self._written(act))

    async def goes_on_under(self, workflow_id: str, id_: str, *, whose: str | None = None) -> bool:
        """Whether that is the workflow's key. Of one that has none yet it becomes that; ``whose``: only where it is a
        key of that tenant's."""
        if self._of_workflow.get(workflow_id) == id_:
            return True
        async with reading(self._engine) as connection:
            bound = (await connection.execute(_key_of(workflow_id))).one_or_none()
        if bound is None:
            async with writing(self._engine) as connection:
                await self._begin(connection, workflow_id, id_, whose)
                bound = (await connection.execute(_key_of(workflow_id))).one_or_none()
        if bound is None or bound.id != id_:
            return False
        self._of_workflow.put(workflow_id, id_)
        return True

    # forgetting -----------------------------------------------------------------------------------

    async def workflows_of(self, tenant: str, user: str) -> tuple[str, ...]:
        """The workflows whose payloads forgetting that user makes unreadable."""
        async with reading(self._engine) as connection:
            return await self._workflows(connection, await self._ids(connection, tenant, user))

    async def destroy(self, tenant: str, user: str) -> Destroyed:
        """For good. Other processes may remember a key for as long as their ``remember_seconds``. Raises InvalidRequest
        for the tenant's own key, which seals no user's texts: what stands under it would be of no use any more."""
        if user == NOBODY:
            raise InvalidRequest(
                "user: is empty, and so nobody. Name whom to forget as messages name them.", field="user"
            )
        async with writing(self._engine) as connection:
            if connection.dialect.name == "sqlite":  # else the key stays in a page that is free now
                await connection.execute(text("PRAGMA secure_delete = ON"))
            ids = await self._ids(connection, tenant, user)
            bound = await self._workflows(connection, ids)
            for id_ in ids:
                gone = {"wrapped": None, "user_id": None, "destroyed": datetime.now(UTC)}
                await connection.execute(data_keys.update().where(keys.id == id_).values(gone))
        await self._leave_the_log()
        for id_ in ids:
            self._opened.drop(id_)
        self._of_user.drop((tenant, user))
        self._of_workflow.clear()
        return Destroyed(len(ids), bound)

    async def _leave_the_log(self) -> None:
        """SQLite's write-ahead log holds the page as it was; others that read meanwhile may hold it up until later."""
        if self._engine.dialect.name == "sqlite":
            async with self._engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                await (await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")).close()  # type: ignore[union-attr]

    async def _current(self, tenant: str, user: str) -> str:
        async with reading(self._engine) as connection:
            id_ = (await connection.execute(_current_of(tenant, user))).scalar_one_or_none()
        if id_ is None:
            id_ = await self._written(lambda connection, ready: self._user_key(connection, ready, tenant, user))
        self._of_user.put((tenant, user), id_)
        return id_

    async def _workflow_key(self, workflow_id: str) -> str:
        query = select(workflows.key_id).where(workflows.workflow_id == workflow_id)
        async with reading(self._engine) as connection:
            found = (await connection.execute(query)).scalar_one_or_none()
        return found or await self._written(lambda connection, ready: self._nobodys(connection, ready, workflow_id))

    async def _written(self, act: Callable[[AsyncConnection, Ready | None], Awaitable[str]]) -> str:
        """What ``act`` gives within a transaction. One that needs a key begins anew with it: whoever else writes does
        not wait for the key service meanwhile, and whatever changed meanwhile is seen."""
        ready: Ready | None = None
        while True:
            try:
                async with writing(self._engine) as connection:
                    return await act(connection, ready)
            except KeyNeeded as needed:
                need = needed
            ready = await self._wrapping.ready(need.tenant, need.of)

    # within a transaction -------------------------------------------------------------------------

    async def _user_key(self, connection: AsyncConnection, ready: Ready | None, tenant: str, user: str) -> str:
        while True:  # PostgreSQL: who made it first may be forgotten before it is read
            found = (await connection.execute(_current_of(tenant, user))).scalar_one_or_none()
            id_ = found or await self._new(connection, ready, tenant, [(tenant, user)], current_of=user)
            if id_ is not None:
                return id_

    async def _new(
        self,
        connection: AsyncConnection,
        ready: Ready | None,
        tenant: str,
        its: list[tuple[str, str]],
        *,
        current_of: str | None = None,
    ) -> str | None:
        """Its id; None where that user has one meanwhile. Raises KeyNeeded."""
        wrapped = (await self._ready(connection, ready, tenant)).wrapped
        row = {
            "id": secrets.token_hex(8),
            "tenant": tenant,
            "user_id": current_of,
            "wrapped": wrapped.blob,
            "wrapped_by": wrapped.by,
            "created": datetime.now(UTC),
        }
        made = await connection.execute(insert(connection, data_keys).values(row).on_conflict_do_nothing())
        if not made.rowcount:
            return None
        for each in its:
            await self._give(connection, row["id"], *each)
        return row["id"]

    async def _ready(
        self, connection: AsyncConnection, ready: Ready | None, tenant: str, of: Wrapped | None = None
    ) -> Ready:
        """The key that was made ready, where it is the one that is needed now. Raises KeyNeeded."""
        if ready is None or ready.of != of or not await self._wrapping.stands(connection, ready):
            raise KeyNeeded(tenant, of)
        return ready

    async def _give(self, connection: AsyncConnection, id_: str, tenant: str, user: str) -> None:
        row = {"key_id": id_, "tenant": tenant, "user_id": user}
        await connection.execute(insert(connection, key_users).values(row).on_conflict_do_nothing())

    async def _nobodys(self, connection: AsyncConnection, ready: Ready | None, workflow_id: str) -> str:
        query = select(workflows.key_id).where(workflows.workflow_id == workflow_id)
        found = (await connection.execute(query)).scalar_one_or_none()
        if found is not None:
            return found
        id_ = await self._new(connection, ready, NOBODY, []) or ""
        row = {"workflow_id": workflow_id, "key_id": id_, "created": datetime.now(UTC)}
        made = await connection.execute(insert(connection, workflow_keys).values(row).on_conflict_do_nothing())
        if made.rowcount:
            return id_
        await connection.execute(delete(data_keys).where(keys.id == id_))
        return (await connection.execute(query)).scalar_one()

    async def _begin(self, connection: AsyncConnection, workflow_id: str, id_: str, whose: str | None = None) -> bool:
        """Whether the workflow had no key and is under that one now; not where ``whose`` is another tenant."""
        tenant = (await connection.execute(select(keys.tenant).where(keys.id == id_))).scalar_one()
        if whose not in (None, tenant) or await _is_foreign(connection, workflow_id, tenant):
            return False
        row = {"workflow_id": workflow_id, "key_id": id_, "created": datetime.now(UTC)}
        made = await connection.execute(insert(connection, workflow_keys).values(row).on_conflict_do_nothing())
        return bool(made.rowcount)

    async def _bind(
        self,
        connection: AsyncConnection,
        ready: Ready | None,
        workflow_id: str,
        tenant: str,
        user: str,
        takes_over: bool,
    ) -> str:
        query = select(workflows.key_id).where(workflows.workflow_id == workflow_id).with_for_update()
        while (bound_to := (await connection.execute(query)).scalar_one_or_none()) is None:
            if await _is_foreign(connection, workflow_id, tenant):
                raise unknown_conversation(workflow_id)
            id_ = await self._user_key(connection, ready, tenant, user)
            if await self._begin(connection, workflow_id, id_):
                return id_
            ready = None  # another process was first; and the key is the user's own now
        # A statement of its own: within one, PostgreSQL locks workflow and key in any order, and so for ever.
        key = select(keys.id, keys.tenant, keys.wrapped, keys.wrapped_by).where(keys.id == bound_to)
        bound = (await connection.execute(key.with_for_update())).one()
        whose = select(users.tenant, users.user_id).where(users.key_id == bound.id)
        its = [(row.tenant, row.user_id) for row in await connection.execute(whose)]
        if {bound.tenant, *(each for each, _ in its)} - {NOBODY, tenant}:
            raise unknown_conversation(workflow_id)
        if bound.wrapped is None:  # of a user who was forgotten
            id_ = await self._user_key(connection, ready, tenant, user)
        elif (tenant, user) in its:
            return bound.id
        elif its:  # another user's: from now on it is both of theirs
            id_ = await self._new(connection, ready, tenant, [*its, (tenant, user)]) or ""
        else:
            if takes_over:
                nobodys = Wrapped(bound.wrapped_by, bound.wrapped)
                await self._take_over(connection, ready, bound.id, nobodys, tenant, user)
            return bound.id
        await connection.execute(workflow_keys.update().where(workflows.workflow_id == workflow_id).values(key_id=id_))
        return id_

    async def _take_over(
        self, connection: AsyncConnection, ready: Ready | None, id_: str, nobodys: Wrapped, tenant: str, user: str
    ) -> None:
        """What was nobody's is this user's now. Raises KeyNeeded."""
        new = (await self._ready(connection, ready, tenant, nobodys)).wrapped
        values = {"tenant": tenant, "wrapped": new.blob, "wrapped_by": new.by}
        await connection.execute(data_keys.update().where(keys.id == id_).values(values))
        await self._give(connection, id_, tenant, user)

    async def _ids(self, connection: AsyncConnection, tenant: str, user: str) -> list[str]:
        query = (
            select(keys.id)
            .join(key_users, users.key_id == keys.id)
            .where(users.tenant == tenant, users.user_id == user, keys.wrapped.is_not(None))
        )
        return list((await connection.execute(query.order_by(keys.id))).scalars())

    async def _workflows(self, connection: AsyncConnection, ids: list[str]) -> tuple[str, ...]:
        query = select(workflows.workflow_id).where(workflows.key_id.in_(ids)).order_by(workflows.workflow_id)
        return tuple((await connection.execute(query)).scalars())


def _gone_before(id_: str) -> Select[str]:
    """Keys of the same tenant that were destroyed before ``id_`` was made. One that went later may still have a turn
    under way, which is to find no key, though an old payload of somebody else's is read again."""
    new = data_keys.alias()
    return select(keys.id).join(new, and_(new.c.id == id_, new.c.tenant == keys.tenant, new.c.created > keys.destroyed))


def _joining(id_: str, bound: str) -> Select[str, str]:
    """Whose the one key is, as long as it is there, and the other, of the same tenant, is not."""
    there, other = data_keys.alias(), key_users.alias()
    has_it = exists().where(other.c.key_id == bound, other.c.tenant == users.tenant, other.c.user_id == users.user_id)
    return (
        select(users.tenant, users.user_id)
        .join(data_keys, keys.id == users.key_id)
        .join(there, and_(there.c.id == bound, there.c.tenant == keys.tenant))
        .where(keys.id == id_, keys.wrapped.is_not(None), ~has_it)
    )


def _current_of(tenant: str, user: str) -> Select[str]:
    return select(keys.id).where(keys.tenant == tenant, keys.user_id == user)


def _key_of(workflow_id: str) -> Select[str, str, bytes | None, str]:
    query = select(keys.id, keys.tenant, keys.wrapped, keys.wrapped_by)
    return query.join(workflow_keys, workflows.key_id == keys.id).where(workflows.workflow_id == workflow_id)


async def _is_foreign(connection: AsyncConnection, workflow_id: str, tenant: str) -> bool:
    """Whether the audit has turns of another tenant of it: of before the site encrypted, when no key said whose it is.
    Whatever is nobody's yet may be theirs."""
    if tenant == NOBODY:
        return False
    logs = interaction_logs.c
    query = select(logs.id).where(logs.conversation == workflow_id, logs.tenant != tenant).limit(1)
    return (await connection.execute(query)).first() is not None


def _destroyed(id_: str) -> KeyDestroyed:
    return KeyDestroyed(f"key {id_}: was destroyed when its user was forgotten. What it sealed is gone.")
