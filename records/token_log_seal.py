"""What stands in a token log, sealed: events as JSON, the token ids and the text of a batch as bytes.

A stream is the workflow's in whose name it begins, and is sealed under that workflow's data key. A site that has keys
takes nothing in clear, not even from before it encrypted: whoever can write to the log could put it there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dialogue.faults import KeyMissing, SealBroken
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
_KEY_ENDS: Final = len(_MARK) + _ID_BYTES
_AT_OFFSET: Final = b"\x02"
"""Stands between key id and seal of a batch that is bound to its offset too. A version that knows none takes the seal
for a broken one, and never for clear ids."""


class StreamSeal:
    """``keys`` None: all is written in clear. Every method may raise KeyMissing and KeysUnavailable; those that open,
    SealBroken for what was changed, moved, doubled, left out or is in clear, and TokenLogUnavailable for nonsense."""

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
        offset: int,
        token_ids: Sequence[int],
        pieces: Sequence[tuple[str, str]],
        *,
        show: bool,
    ) -> tuple[Chunk, list[tuple[str, str]]]:
        """Ids and text of a batch, and kind and data of the events that show it. ``offset``: the candidate's tokens
        before it."""
        ids = rules.pack_ids(token_ids)
        text = "".join(text for _, text in pieces).encode("utf-8", "surrogatepass")
        events = list(rules.piece_events(pieces)) if show else []
        if self._keys is None:
            return (ids, text), events
        key = await self._key(stream)
        at_ids, at_text = _places(stream, try_number, candidate, offset)
        chunk = (_sealed(key, ids, at_ids), _sealed(key, text, at_text))
        return chunk, [(kind, _sealed_event(key, stream, kind, data)) for kind, data in events]

    async def opened_batches(
        self, stream: str, try_number: int, candidate: int, chunks: Sequence[Chunk]
    ) -> tuple[tuple[int, ...], str]:
        """The token ids and the text of a candidate, from all its batches in their order. An end that was cut off is
        not missed: whoever goes on makes it anew."""
        if self._keys is not None and len(set(chunks)) < len(chunks):  # no two seals are the same
            raise SealBroken(f"{stream}: a batch stands in its log twice. Put back what was written there.")
        ids, texts = list[int](), list[bytes]()
        at_offset = False
        for chunk in chunks:
            at_offset = at_offset or _is_at_offset(chunk)  # none of the version before comes behind one of this
            places = _places(stream, try_number, candidate, len(ids) if at_offset else None)
            packed, text = [await self._open(stream, *each) for each in zip(chunk, places, strict=True)]
            ids += rules.unpack_ids(stream, packed)
            texts.append(text)
        return tuple(ids), rules.to_text(stream, b"".join(texts))

    async def opened_events(self, stream: str, events: Sequence[StreamEvent]) -> list[StreamEvent]:
        return [await self._opened_event(stream, event) for event in events]

    async def _opened_event(self, stream: str, event: StreamEvent) -> StreamEvent:
        sealed = event.data.keys() == {"sealed", "key"}
        if self._keys is None:
            if sealed:
                raise _no_keys(stream)
            return event
        if not sealed:
            raise _in_clear(stream)
        key = await self._keys.by_id(str(event.data["key"]))
        text = unseal(key, _from_base64(stream, event.data["sealed"]), place("event", stream, event.kind))
        return replace(event, data=rules.from_json(stream, text))

    async def _open(self, stream: str, stored: bytes, where: bytes) -> bytes:
        sealed = _is_sealed(stored)
        if self._keys is None:
            if sealed:
                raise _no_keys(stream)
            return stored
        if not sealed:
            raise _in_clear(stream)
        id_, seal_ = stored[len(_MARK) : _KEY_ENDS], stored[_KEY_ENDS:]
        return unseal(await self._keys.by_id(id_.decode("ascii", "replace")), seal_.removeprefix(_AT_OFFSET), where)

    async def _key(self, stream: str) -> DataKey:
        assert self._keys is not None  # noqa: S101 asked for by nobody else
        return await self._keys.of_workflow(stream.partition("/")[0])


def _places(stream: str, try_number: int, candidate: int, offset: int | None) -> tuple[bytes, bytes]:
    """Of a batch's ids and of its text; ``offset`` None: as the version before wrote it, one for both."""
    if offset is None:
        where = place("tokens", stream, try_number, candidate)
        return where, where
    where = (stream, try_number, candidate, offset)
    return place("token ids", *where), place("token text", *where)


def _is_sealed(stored: bytes) -> bool:
    return stored.startswith(_MARK)


def _is_at_offset(chunk: Chunk) -> bool:
    return _is_sealed(chunk[0]) and chunk[0].startswith(_AT_OFFSET, _KEY_ENDS)


def _sealed(key: DataKey, stored: bytes, where: bytes) -> bytes:
    return _MARK + key.id.encode() + _AT_OFFSET + seal(key, stored, where)


def _sealed_event(key: DataKey, stream: str, kind: str, text: str) -> str:
    sealed = seal(key, text.encode(), place("event", stream, kind))
    return rules.to_json({"sealed": base64.b64encode(sealed).decode(), "key": key.id})


def _from_base64(stream: str, written: object) -> bytes:
    try:
        return base64.b64decode(str(written), validate=True)
    except ValueError:
        raise SealBroken(
            f"{stream}: a sealed event of its log is no Base64. Put back what was written there."
        ) from None


def _in_clear(stream: str) -> SealBroken:
    return SealBroken(
        f"{stream}: its log holds an entry in clear, and this site encrypts. It is from before it did, from a process "
        "without this encryption.provider, or from somebody else. The turn goes on without a stream."
    )


def _no_keys(stream: str) -> KeyMissing:
    return KeyMissing(
        f"{stream}: its log is sealed, and this process has no keys. Set encryption.provider as the others have it.",
        field="encryption.provider",
    )
