"""Tenants' keys from Parley's key service, for a process in an SGX enclave: fetched with a quote, kept in its memory.

They wrap as the service's own file does: a process that has that file reads the same. Before each wrapping, once for
each user, the service is asked anew: a key that was changed there wraps nothing from then on.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TypeVar

import httpx
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import BaseModel, ValidationError

from dialogue.faults import AttestationRefused, KeyMissing, KeyServiceUntrusted, KeysUnavailable
from records.enclave import Enclave
from records.key_exchange import SUITE, Challenge, KeyAnswer, KeyRequest, TenantKeys, report_data
from records.seal import DataKey
from records.short_memory import ShortMemory
from records.tenant_keys import KeyProvider, Wrapped
from settings.schema import Settings

__all__ = ["AttestedKeys"]

_SECONDS = 20.0
_Model = TypeVar("_Model", bound=BaseModel)


class AttestedKeys(KeyProvider):
    """``service_key``: the public key of the service that is believed. ``remember_seconds``: so long a tenant's keys
    unwrap without being asked for again; an enclave that the service no longer names has them no longer than that."""

    def __init__(
        self,
        address: str,
        service_key: Ed25519PublicKey,
        enclave: Enclave,
        *,
        remember_seconds: float = 60,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        enclave.require()
        self._address, self._service, self._enclave, self._transport = address, service_key, enclave, transport
        self._known = ShortMemory[str, dict[str, DataKey]](remember_seconds)

    @classmethod
    def open(cls, settings: Settings) -> AttestedKeys:
        """Raises SettingsFault where this process runs in no enclave."""
        given = settings.encryption.attested
        assert given.address is not None  # noqa: S101 - settings/pairs.py
        assert given.service_key is not None  # noqa: S101
        service = Ed25519PublicKey.from_public_bytes(base64.b64decode(given.service_key))
        return cls(given.address, service, Enclave(), remember_seconds=settings.encryption.cache_seconds)

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        newest = next(iter((await self._asked(tenant)).values()))
        return Wrapped.under(newest, tenant, key)

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        keys = self._known.get(tenant)
        if keys is None or wrapped.by not in keys:  # made since
            keys = await self._asked(tenant)
        if wrapped.by not in keys:
            raise KeyMissing(
                f"encryption.attested: the key service has no key {wrapped.by}, under which data of tenant {tenant} is "
                "wrapped. Put it back there, behind the others.",
                field="encryption.attested",
            )
        return wrapped.opened(keys[wrapped.by], tenant)

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        """Where the key service runs, with `parley keys rotate`."""
        return False

    async def _asked(self, tenant: str) -> dict[str, DataKey]:
        """The service's keys of this moment, the newest first."""
        found = {each.id: DataKey(each.id, each.key) for each in (await self._fetch(tenant)).keys}
        self._known.put(tenant, found)
        return found

    async def _fetch(self, tenant: str) -> TenantKeys:
        mine = X25519PrivateKey.generate()
        public = mine.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        async with httpx.AsyncClient(
            base_url=self._address, timeout=_SECONDS, transport=self._transport, trust_env=False
        ) as http:
            nonce = (await self._ask(http, "/v1/challenge", None, Challenge)).nonce
            service = self._service.public_bytes(Encoding.Raw, PublicFormat.Raw)
            bound = report_data(service, tenant, nonce, public)
            quote = await asyncio.to_thread(self._enclave.quote, bound)
            request = KeyRequest.model_validate(
                {"tenant": tenant}
                | {name: base64.b64encode(data) for name, data in
                   (("nonce", nonce), ("public_key", public), ("quote", quote))}
            )  # fmt: skip
            answer = await self._ask(http, "/v1/tenant-keys", request, KeyAnswer)
        try:
            self._service.verify(answer.signature, KeyAnswer.signed_bytes(bound, answer.sealed))
            return TenantKeys.model_validate_json(SUITE.decrypt(answer.sealed, mine, info=bound))
        except (InvalidSignature, InvalidTag, ValidationError):
            raise self._untrusted() from None

    async def _ask(
        self, http: httpx.AsyncClient, path: str, request: KeyRequest | None, answer: type[_Model]
    ) -> _Model:
        body = request.model_dump_json() if request else "{}"
        try:
            found = await http.post(path, content=body, headers={"Content-Type": "application/json"})
        except httpx.HTTPError as error:
            raise KeysUnavailable(
                f"encryption.attested.address: {self._address} cannot be asked ({error or type(error).__name__}). Does "
                "`parley keys serve` run there?"
            ) from None
        if found.status_code == AttestationRefused.status:  # not its callers' fault, and it may be named in a moment
            raise KeysUnavailable(f"encryption.attested: the key service refuses this enclave. {_detail(found)}")
        if found.is_error:
            raise KeysUnavailable(
                f"encryption.attested.address: {self._address} answers {found.status_code}. {_detail(found)}"
            )
        try:
            return answer.model_validate_json(found.content)
        except ValidationError:
            raise self._untrusted() from None

    def _untrusted(self) -> KeyServiceUntrusted:
        return KeyServiceUntrusted(
            f"encryption.attested.service_key: what {self._address} answers is not signed with it. Somebody stands in "
            "between, or the service has another key now (`parley keys identity`)."
        )


def _detail(answer: httpx.Response) -> str:
    """Its problem's own words, within bounds: whoever answers need not be the service."""
    try:
        found = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        found = ""
    return " ".join(str(found).split())[:500]
