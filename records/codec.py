"""The payload codec: everything a workflow says to Temporal, sealed under the data key of whoever it talks with.

A sealed payload holds, in clear, that it is sealed, its key's id and its workflow's id; nothing else. The ids are
authenticated: a payload that was moved to another workflow does not open there; runs of one schedule alone, under one
key, read each other's. A remote codec knows the user and not the workflow; its payloads name none, and the workflow
they first arrive in becomes that user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadCodec, SerializationContext, WithSerializationContext

from dialogue.faults import KeyDestroyed, KeyMissing, SealBroken
from records.data_keys import NOBODY, DataKeys
from records.payloads import FORGOTTEN, REFUSED, plain_refused
from records.seal import place, seal, unseal
from workflows.names import KEEP_RECORDS_SCHEDULE

__all__ = ["ENCODING", "KEY_ID", "WORKFLOW", "EncryptionCodec", "is_sealed", "key_id_of", "sealed_payloads"]

ENCODING: Final = b"binary/parley-sealed"
KEY_ID: Final = "encryption-key-id"
WORKFLOW: Final = "parley-workflow"
_OF_A_SCHEDULE: Final = re.compile(r"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)


class EncryptionCodec(PayloadCodec, WithSerializationContext):
    """Every call may raise KeysUnavailable and RecordsUnavailable. ``accept_plain``: what is not sealed is read."""

    def __init__(
        self,
        keys: DataKeys,
        *,
        accept_plain: bool = True,
        workflow_id: str | None = None,
        owner: tuple[str, str] | None = None,
    ) -> None:
        self._keys = keys
        self._accept_plain = accept_plain
        self._workflow_id = workflow_id
        self._owner = owner

    def with_context(self, context: SerializationContext) -> EncryptionCodec:
        workflow_id = getattr(context, "workflow_id", None)
        if workflow_id is None or workflow_id == self._workflow_id:
            return self
        return EncryptionCodec(self._keys, accept_plain=self._accept_plain, workflow_id=workflow_id, owner=self._owner)

    def for_user(self, tenant: str, user: str) -> EncryptionCodec:
        """For a remote caller's payloads, which are that user's."""
        return EncryptionCodec(self._keys, accept_plain=self._accept_plain, owner=(tenant, user))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises KeyMissing in a workflow whose user was forgotten."""
        if not payloads:
            return []
        workflow = "" if self._owner else self._workflow_id or ""
        if self._owner:
            key = await self._keys.of_user(*self._owner)
        else:
            key = await self._keys.of_workflow(workflow)
        where = _where(workflow, key.id)
        metadata = {"encoding": ENCODING, KEY_ID: key.id.encode(), WORKFLOW: workflow.encode()}
        return [Payload(metadata=metadata, data=seal(key, payload.SerializeToString(), where)) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises KeyMissing and SealBroken. Of a workflow, what fails a call alone is handed on in the payload's place:
        ``REFUSED`` for one in clear where the site takes none (without a workflow it raises PlainRefused), and
        ``FORGOTTEN`` for one that a remote codec sealed for somebody who was forgotten before it arrived, and whose the
        workflow is not."""
        return [await self._decode(payload) for payload in payloads]

    async def _decode(self, payload: Payload) -> Payload:
        if not is_sealed(payload):
            if self._accept_plain:
                return payload
            if self._workflow_id is None:
                raise plain_refused()
            return Payload(metadata={"encoding": REFUSED})
        workflow = payload.metadata.get(WORKFLOW, b"").decode("utf-8", "replace")
        try:
            return await self._opened(payload, workflow)
        except KeyDestroyed:
            if workflow or self._workflow_id is None or await self._keys.is_destroyed(self._workflow_id):
                raise
            return Payload(metadata={"encoding": FORGOTTEN})

    async def _opened(self, payload: Payload, workflow: str) -> Payload:
        id_ = key_id_of(payload)
        key = await self._keys.by_id(id_)
        text = unseal(key, payload.data, _where(workflow, id_))
        if self._workflow_id is not None:
            if workflow and not await self._belongs(workflow, self._workflow_id, id_):
                raise SealBroken(
                    f"workflow {self._workflow_id}: holds a payload that was sealed for {workflow}. Replay a history "
                    "under its own workflow id; where it runs, somebody moved it."
                )
            await self._keys.noticed(self._workflow_id, id_, from_outside=not workflow)
        return Payload.FromString(text)

    async def _belongs(self, sealed_for: str, workflow_id: str, key_id: str) -> bool:
        """A Temporal Schedule starts workflows under the id of its action with the time behind it, and hands each of
        them the result of the one before. Anybody can give a workflow such an id, so they have to be under one key: one
        that has none yet goes on under that, like what a remote codec sealed. The site's own schedule has no texts: its
        runs read each other's whatever key they have, and go on under one that is nobody's."""
        if sealed_for == workflow_id:
            return True
        action = _without_time(sealed_for)
        if action != _without_time(workflow_id):
            return False
        if action == KEEP_RECORDS_SCHEDULE:
            await self._keys.goes_on_under(workflow_id, key_id, whose=NOBODY)
            return True
        return await self._keys.goes_on_under(workflow_id, key_id)


def _without_time(workflow_id: str) -> str:
    time = _OF_A_SCHEDULE.search(workflow_id)
    return workflow_id[: time.start()] if time else workflow_id


def is_sealed(payload: Payload) -> bool:
    return payload.metadata.get("encoding") == ENCODING


def key_id_of(payload: Payload) -> str:
    """Of a sealed one. Raises KeyMissing where it names none."""
    id_ = payload.metadata.get(KEY_ID, b"").decode("ascii", "replace")
    if not id_:
        raise KeyMissing("payload: is sealed and names no key. It was cut, or another program sealed it.")
    return id_


def sealed_payloads(history: WorkflowHistory) -> list[Payload]:
    """Every sealed payload of a history, in its order: what has to open before it can be replayed."""
    whole = History(events=history.events)
    return [payload for payload in _payloads(whole) if is_sealed(payload)]


def _payloads(message: Any) -> Iterable[Payload]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in _messages(field, value):
            if isinstance(each, Payload):
                yield each
            else:
                yield from _payloads(each)


def _messages(field: Any, value: Any) -> Iterable[Any]:
    if field.message_type.GetOptions().map_entry:
        if field.message_type.fields_by_name["value"].message_type is None:
            return ()
        return list(value.values())
    return list(value) if hasattr(value, "append") else [value]


def _where(workflow: str, key_id: str) -> bytes:
    return place("payload", workflow, key_id)
