"""The texts of the audit's rows and of feedback, sealed under the data key of the user whose they are.

The hash chain runs over what is stored, so a row's place in it stays provable when its user is forgotten. A row whose
``data_key`` is NULL stands in clear: it was written while the site did not encrypt.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from dialogue.faults import KeyDestroyed, KeyMissing, SealBroken
from records.data_keys import DataKeys
from records.seal import DataKey, place, seal, unseal

__all__ = ["SEALED", "Opened", "TextSeal"]

SEALED: Final = ("ip_address", "input_text", "input_digest", "output_text", "reasoning", "citations", "note")
"""Of ``interaction_logs``. The digest of a question is a text too: a short question can be guessed from it."""
_COMMENT: Final = "comment"
_GONE: Final[dict[str, Any]] = {"ip_address": None, "citations": []}


class Opened(NamedTuple):
    """A row's columns as they were written. Where its user was ``forgotten`` the texts are empty, and so are those that
    ``damaged`` names: they are not as they were sealed."""

    columns: dict[str, Any]
    forgotten: bool = False
    damaged: tuple[str, ...] = ()


class TextSeal:
    """``keys`` None: everything is written in clear, and nothing that is sealed can be read.

    Every method may raise KeysUnavailable, RecordsUnavailable, and KeyMissing where a tenant's key is not here.
    """

    def __init__(self, keys: DataKeys | None = None) -> None:
        self._keys = keys

    @property
    def has_keys(self) -> bool:
        return self._keys is not None

    def remembered_row(self, columns: Mapping[str, Any]) -> dict[str, Any] | None:
        """The same without asking whose key is whose: None where it is not remembered. It may be destroyed since, which
        :meth:`hold` refuses."""
        key = None if self._keys is None else self._keys.remembered(columns["tenant"], columns["user_id"])
        return None if key is None else _under(key, columns, SEALED, _row_place(columns))

    async def row(self, columns: Mapping[str, Any]) -> dict[str, Any] | None:
        """The columns as they are stored; None where their user has no key. Not to be called within a transaction."""
        if self._keys is None:
            return {**columns, "data_key": None}
        key = await self._keys.held(columns["tenant"], columns["user_id"])
        return None if key is None else _under(key, columns, SEALED, _row_place(columns))

    async def first_row(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The same under a key that is made for it. Raises KeyDestroyed where the conversation's went with its user."""
        await self.refuse_forgotten(columns)
        return await self._sealed(columns, SEALED, _row_place(columns))

    async def hold(self, connection: AsyncConnection, sealed: Mapping[str, Any]) -> None:
        """Within the transaction that writes something new: until it ends nobody destroys its key. Raises KeyDestroyed
        where that is gone, or the conversation's."""
        if self._keys is not None:
            await self._keys.hold(connection, sealed["data_key"])
            await self.refuse_forgotten(sealed, connection)

    async def refuse_forgotten(self, columns: Mapping[str, Any], connection: AsyncConnection | None = None) -> None:
        """Raises KeyDestroyed where the conversation's key went with its user: what was under way then must not be kept
        under another, which they have where they came back elsewhere. Whoever comes back to this conversation is bound
        to it anew first."""
        if self._keys is not None and await self._keys.is_destroyed(columns["conversation"], connection):
            raise KeyDestroyed(
                f"conversation {columns['conversation']}: its user was forgotten. Nothing is kept of it."
            )

    async def opened_row(self, columns: Mapping[Any, Any]) -> Opened:
        return await self._opened(columns, SEALED, _row_place(columns))

    async def feedback(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        return await self._sealed(columns, (_COMMENT,), _feedback_place(columns))

    async def opened_feedback(self, columns: Mapping[Any, Any]) -> Opened:
        return await self._opened(columns, (_COMMENT,), _feedback_place(columns))

    async def _sealed(
        self, columns: Mapping[str, Any], names: tuple[str, ...], where: tuple[str, ...]
    ) -> dict[str, Any]:
        if self._keys is None:
            return {**columns, "data_key": None}
        return _under(await self._keys.of_user(columns["tenant"], columns["user_id"]), columns, names, where)

    async def _opened(self, columns: Mapping[Any, Any], names: tuple[str, ...], where: tuple[str, ...]) -> Opened:
        stored = dict(columns)
        id_ = stored.get("data_key")
        if id_ is None:
            return Opened(stored)
        held = [name for name in names if stored[name]]
        try:
            key = None if self._keys is None else await self._keys.by_id(id_)
        except KeyDestroyed:
            key = None
        except (SealBroken, KeyMissing) as fault:
            # Of a key that is known, the tenant's is not here: nothing is damaged.
            if isinstance(fault, KeyMissing) and (self._keys is None or await self._keys.knows(id_)):
                raise
            return Opened({**stored, **_empty(held)}, damaged=tuple(held))  # the key is, and with it all texts
        if key is None:
            return Opened({**stored, **_empty(held)}, forgotten=True)
        texts: dict[str, Any] = {}
        for name in held:
            with contextlib.suppress(SealBroken):
                texts[name] = _opened(key, stored[name], place(*where, name))
        damaged = tuple(name for name in held if name not in texts)
        return Opened({**stored, **texts, **_empty(damaged)}, damaged=damaged)


def _empty(names: Iterable[str]) -> dict[str, Any]:
    return {name: _GONE.get(name, "") for name in names}


def _under(key: DataKey, columns: Mapping[str, Any], names: tuple[str, ...], where: tuple[str, ...]) -> dict[str, Any]:
    texts = {name: _sealed(key, columns[name], place(*where, name)) for name in names if columns[name]}
    return {**columns, **texts, "data_key": key.id}


def _row_place(columns: Mapping[Any, Any]) -> tuple[str, ...]:
    return ("audit", columns["tenant"], columns["conversation"], str(columns["turn"]))


def _feedback_place(columns: Mapping[Any, Any]) -> tuple[str, ...]:
    return ("feedback", columns["tenant"], columns["conversation"], str(columns["turn"]), columns["user_id"])


def _sealed(key: DataKey, value: Any, where: bytes) -> str:
    return base64.b64encode(seal(key, json.dumps(value).encode("ascii"), where)).decode("ascii")


def _opened(key: DataKey, stored: Any, where: bytes) -> Any:
    """Raises SealBroken."""
    try:
        sealed = base64.b64decode(stored, validate=True)
    except (ValueError, TypeError):
        raise SealBroken(f"key {key.id}: what should be a ciphertext is no Base64: it was changed or cut.") from None
    return json.loads(unseal(key, sealed, where))
