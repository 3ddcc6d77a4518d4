"""What stands in a token log, sealed: events as JSON, the token ids and the text of a batch as bytes.

A stream is the workflow's in whose name it begins, and is sealed under that workflow's data key. What was written in
clear, before a site began to encrypt, is read as it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from records import token_log_rules as rules
from records.seal import DataKey, place, seal, unseal
from records.token_log import StreamEvent

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = ["Chunk", "StreamSeal"]

Chunk = tuple[bytes, bytes]
"""Token ids and UTF-8 text, as they are stored."""

_MARK: Final = b"\xffSEALED\x01"
"""No text begins so, because 0xff is in no UTF-8; nor do token ids, because none is as high as 0x414553ff."""
_ID_BYTES = 16


class StreamSeal:
    """``keys`` None: all is written in clear. Every method may raise KeyMissing, KeysUnavailable, SealBroken."""

    def __init__(self, keys: DataKeys | None = None) -> None:
        self._keys = keys

    async def event(self, stream: str, kind: str, data: Mapping[str, Any]) -> str:
        """The event's data as JSON."""
        text = rules.to_json(data)
        if self._keys is None:
            return text
        return _sealed_event(await self._key(stream), stream, kind, text)

    async def batch(
        self,
        stream: str,
        try_number: int,
        candidate: int,
        token_ids: Sequence[int],
        pieces: Sequence[tuple[str, str]],
        *,
        show: bool,
    ) -> tuple[Chunk, list[tuple[str, str]]]:
        """Ids and text of a batch, and kind and data of the events that show it."""
        ids = rules.pack_ids(token_ids)
        text = "".join(text for _, text in pieces).encode("utf-8", "surrogatepass")
        events = list(rules.piece_events(pieces)) if show else []
        if self._keys is None:
            return (ids, text), events
        key = await self._key(stream)
        where = place("tokens", stream, try_number, candidate)
        chunk = (_sealed(key, ids, where), _sealed(key, text, where))
        return chunk, [(kind, _sealed_event(key, stream, kind, data)) for kind, data in events]

    async def opened_batches(
        self, stream: str, try_number: int, candidate: int, chunks: Sequence[Chunk]
    ) -> tuple[tuple[int, ...], str]:
        """The token ids and the text of a candidate."""
        where = place("tokens", stream, try_number, candidate)
        ids = [await self._open(ids, where) for ids, _ in chunks]
        texts = [await self._open(text, where) for _, text in chunks]
        return rules.unpack_ids(b"".join(ids)), b"".join(texts).decode("utf-8", "surrogatepass")

    async def opened_events(self, stream: str, events: Sequence[StreamEvent]) -> list[StreamEvent]:
        return [await self._opened_event(stream, event) for event in events]

    async def _opened_event(self, stream: str, event: StreamEvent) -> StreamEvent:
        if event.data.keys() != {"sealed", "key"} or self._keys is None:
            return event
        key = await self._keys.by_id(event.data["key"])
        text = unseal(key, base64.b64decode(event.data["sealed"]), place("event", stream, event.kind))
        return replace(event, data=json.loads(text))

    async def _open(self, stored: bytes, where: bytes) -> bytes:
        if not stored.startswith(_MARK) or self._keys is None:
            return stored
        id_, sealed = stored[len(_MARK) : len(_MARK) + _ID_BYTES], stored[len(_MARK) + _ID_BYTES :]
        return unseal(await self._keys.by_id(id_.decode("ascii", "replace")), sealed, where)

    async def _key(self, stream: str) -> DataKey:
        assert self._keys is not None  # noqa: S101 asked for by nobody else
        return await self._keys.of_workflow(stream.partition("/")[0])


def _sealed(key: DataKey, stored: bytes, where: bytes) -> bytes:
    return _MARK + key.id.encode() + seal(key, stored, where)


def _sealed_event(key: DataKey, stream: str, kind: str, text: str) -> str:
    sealed = seal(key, text.encode(), place("event", stream, kind))
    return rules.to_json({"sealed": base64.b64encode(sealed).decode(), "key": key.id})
