"""Opens and seals payloads for those who have no keys: people at the Web UI and the CLI, programs with a remote codec.

People are shown what can be shown: a payload that does not open becomes a line that says why. A program gets all of
its payloads or a fault, because it would take such a line for a value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from dialogue.faults import ContentMissing, Forbidden, InvalidRequest, KeyMissing, ParleyFault, SealBroken
from gateway.codec_placeholders import not_opened, shape_of
from records.codec import WORKFLOW, is_sealed, key_id_of
from records.key_owners import KeyOwner, KeyOwners
from records.payload_store import is_reference
from records.protection import Protection

__all__ = ["CodecPayloads", "Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """The answer, and workflow and key of each payload that was opened for it."""

    payloads: list[Payload]
    opened: list[tuple[str, str]]


class CodecPayloads:
    """Every method may raise RecordsUnavailable and KeysUnavailable."""

    def __init__(self, protection: Protection, owners: KeyOwners) -> None:
        self._protection = protection
        self._owners = owners
        self._stored = dataclasses.replace(DataConverter.default, external_storage=protection.external)

    async def show(
        self, payloads: Sequence[Payload], tenant: str, *, texts: bool, keep_references: bool = False
    ) -> Shown:
        """For a person of that tenant: texts or shapes. What is in clear in Temporal stays as it is."""
        fetched = [await self._fetched(payload, keep_references) for payload in payloads]
        owners = await self._owners_of([each for each in fetched if isinstance(each, Payload)])
        shown: list[Payload] = []
        opened: list[tuple[str, str]] = []
        for given, found in zip(payloads, fetched, strict=True):
            if isinstance(found, ParleyFault):
                shown.append(not_opened(given, found.message))
                continue
            if not is_sealed(found):
                shown.append(found)
                continue
            try:
                key_id = _key_id(found)
                _refuse_foreign(key_id, owners.get(key_id), tenant)
                (text,) = await self._protection.codec.decode([found])
            except (KeyMissing, SealBroken, Forbidden) as fault:
                shown.append(not_opened(found, fault.message))
                continue
            shown.append(text if texts else shape_of(text))
            opened.append((_workflow_of(found), key_id))
        return Shown(shown, opened)

    async def decode(self, payloads: Sequence[Payload], tenant: str, user: str) -> Shown:
        """For a program that speaks for that user: theirs, or also theirs; all of them. Raises Forbidden for another's,
        KeyMissing, SealBroken, PlainRefused and ContentMissing."""
        fetched = [await self._stored_payload(payload) for payload in payloads]
        owners = await self._owners_of(fetched)
        opened: list[tuple[str, str]] = []
        for found in filter(is_sealed, fetched):
            key_id = _key_id(found)
            opened.append((_workflow_of(found), key_id))
            owner = owners.get(key_id)
            _refuse_foreign(key_id, owner, tenant)
            if owner is not None and owner.users and user not in owner.users:
                raise Forbidden(f"payload: key {key_id} is not {user}'s. Ask under /TENANT/USER/ of whoever it is.")
        return Shown(await self._protection.codec.decode(fetched), opened)

    async def encode(
        self, payloads: Sequence[Payload], tenant: str, user: str, *, store: bool = False
    ) -> list[Payload]:
        """Sealed under that user's key: forgetting them reaches it. ``store``: what is too long goes outside. Raises
        InvalidRequest for what is sealed already."""
        for payload in payloads:
            if is_sealed(payload) or is_reference(payload):
                raise InvalidRequest("payloads: one of them is sealed already. Send what was said.", field="payloads")
        codec = self._protection.codec.for_user(tenant, user)
        if not store:
            return await codec.encode(payloads)
        converter = dataclasses.replace(self._stored, payload_codec=codec)
        return await converter.encode([RawValue(payload) for payload in payloads])

    async def _owners_of(self, payloads: Sequence[Payload]) -> dict[str, KeyOwner]:
        ids: list[str] = []
        for payload in filter(is_sealed, payloads):
            with suppress(KeyMissing):
                ids.append(_key_id(payload))
        return await self._owners.of(ids)

    async def _fetched(self, payload: Payload, keep_reference: bool) -> Payload | ContentMissing:
        if keep_reference and is_reference(payload):
            return payload
        try:
            return await self._stored_payload(payload)
        except ContentMissing as fault:
            return fault

    async def _stored_payload(self, payload: Payload) -> Payload:
        """The payload that a reference names; another one as it is. Raises ContentMissing."""
        if not is_reference(payload):
            return payload
        try:
            (found,) = await self._stored.decode([payload], [RawValue])
        except ParleyFault:
            raise
        except Exception as error:  # the SDK's and the drivers' own, of any kind
            raise ContentMissing(
                "payload: is stored outside of the history and cannot be fetched from there "
                f"({type(error).__name__}). Set encryption.external as the workers have it."
            ) from error
        return found.payload


def _key_id(payload: Payload) -> str:
    """Raises KeyMissing where it names none, or none that a database could hold."""
    id_ = key_id_of(payload)
    if not id_.isalnum() or len(id_) > 64:
        raise KeyMissing("payload: is sealed and names no key of ours. It was changed, or another program sealed it.")
    return id_


def _refuse_foreign(key_id: str, owner: KeyOwner | None, tenant: str) -> None:
    """One that never was here goes on: the codec says so."""
    if owner is not None and owner.tenant != tenant:
        whose = "another tenant's" if owner.tenant else "nobody's yet: its workflow has not begun"
        raise Forbidden(f"payload: key {key_id} is {whose}, and this is a key of {tenant}.")


def _workflow_of(payload: Payload) -> str:
    return payload.metadata.get(WORKFLOW, b"").decode("utf-8", "replace")
