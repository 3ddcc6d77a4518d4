"""Decodes a history's payloads with the site's own converter: keys, external storage and all.

A missing key must be known as such before anything is replayed: to a replay it looks like nondeterminism.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.common import RawValue
from temporalio.converter import DataConverter, WorkflowSerializationContext

from dialogue.faults import HistoryLocked, ParleyFault
from records.codec import is_sealed
from records.payload_store import is_reference
from records.payloads import FORGOTTEN, forgotten
from replay.events import kind, payloads_of

__all__ = ["decode_events"]

_CLEAR = (b"json/plain", b"json/protobuf", b"binary/null", b"binary/plain", b"binary/protobuf")
"""Encodings that hold a value itself; anything else was not decoded."""


_WAY_OUT = "Give this site the key it was encrypted with, or look from the site that has it."


async def decode_events(
    events: Sequence[HistoryEvent], converter: DataConverter, *, namespace: str, workflow_id: str, source: str
) -> tuple[tuple[HistoryEvent, ...], HistoryLocked | None]:
    """The events with every payload in clear; of one that cannot be decoded the event keeps it as it is.

    The fault names the first event whose payload could not be decoded, and why. What a signal brings that nobody sealed
    is none, whatever its encoding.
    """
    context = WorkflowSerializationContext(namespace=namespace, workflow_id=workflow_id)
    converter = converter.with_context(context)
    direct = converter.payload_codec is None and converter.external_storage is None
    locked: HistoryLocked | None = None
    decoded: list[HistoryEvent] = []
    for event in events:
        if not direct:
            copied = HistoryEvent()
            copied.CopyFrom(event)
            event = copied
        why = await _decode(_to_decode(event), converter, direct=direct)
        if why and locked is None:
            locked = HistoryLocked(f"{source}: event {event.event_id} ({kind(event)}) cannot be decoded: {why}")
        decoded.append(event)
    return tuple(decoded), locked


def _to_decode(event: HistoryEvent) -> list[Payload]:
    """Anybody may signal anything: what is not sealed was handed to the workflow as it stands here, so no key is
    missing."""
    held = list(payloads_of(event))
    if kind(event) != "WORKFLOW_EXECUTION_SIGNALED":
        return held
    return [payload for payload in held if is_sealed(payload) or is_reference(payload)]


async def _decode(payloads: list[Payload], converter: DataConverter, *, direct: bool) -> str:
    """In place. Why one could not be decoded, else nothing."""
    why = ""
    for payload in payloads:
        if not payload.metadata and not payload.data:
            continue
        # What is in clear needs no key, also where the site takes no more of it.
        if not direct and not _is_clear(payload):
            try:
                (raw,) = await converter.decode([payload], [RawValue])
            except ParleyFault as fault:
                why = why or fault.message
                continue
            except Exception as error:  # a codec raises what it likes
                why = why or f"{' '.join(str(error).split()).rstrip('.') or type(error).__name__}. {_WAY_OUT}"
                continue
            if raw.payload.metadata.get("encoding") == FORGOTTEN:
                why = why or forgotten().message
                continue
            payload.CopyFrom(raw.payload)
        encoding = payload.metadata.get("encoding", b"")
        if is_reference(payload):
            why = (
                why or "it is stored outside the history. Name its store (encryption.external), or look from its site."
            )
        elif encoding not in _CLEAR:
            named = payload.metadata.get("encryption-key-id") or payload.metadata.get("key")
            key = f" with key {named.decode(errors='replace')}" if named else ""
            why = why or f"it is {encoding.decode(errors='replace') or 'without an encoding'}{key}. {_WAY_OUT}"
    return why


def _is_clear(payload: Payload) -> bool:
    """Whether it holds the value itself. What is stored outside is named in clear."""
    return payload.metadata.get("encoding") in _CLEAR and not is_reference(payload)
