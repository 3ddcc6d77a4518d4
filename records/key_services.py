"""Tenants' keys in a key service: Vault's transit engine, Amazon's KMS, Google's Cloud KMS. They never leave it.

Each service is asked through its maker's own client, an extra that is imported when it is needed. The tenant goes along
as authenticated context, so that what was wrapped for one tenant unwraps for no other even under one key.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Any, TypeVar

from dialogue.faults import KeyMissing, KeysUnavailable, SettingsFault
from records.tenant_keys import KeyProvider, Wrapped
from settings.schema import EncryptionSettings

__all__ = ["AmazonKeys", "GoogleKeys", "VaultKeys", "open_key_service"]

_Result = TypeVar("_Result")

SECONDS = 4
"""How long a service is waited for: an activity has ten at least, and then says why. Temporal attempts it again."""


def open_key_service(given: EncryptionSettings) -> KeyProvider:
    """The one of ``encryption.provider``. Raises SettingsFault where its client is not installed."""
    key = given.key or ""
    try:
        if given.provider == "vault":
            return VaultKeys(key, given.vault.address, given.vault.mount, given.vault.token_env)
        if given.provider == "aws":
            return AmazonKeys(key)
        return GoogleKeys(key)
    except ModuleNotFoundError as error:
        raise SettingsFault(
            f"encryption.provider: {given.provider} needs {error.name}, which is not installed. "
            f"Run `pip install 'parley[{given.provider}]'`.",
            field="encryption.provider",
        ) from None


class _Service(KeyProvider):
    """``key`` may hold ``{tenant}``."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self, key: str) -> None:
        self._key = key

    def name(self, tenant: str) -> str:
        return self._key.replace("{tenant}", tenant or "site")

    async def _ask(self, call: Callable[[], _Result]) -> _Result:
        """In a thread: the clients block."""
        try:
            return await asyncio.to_thread(call)
        except self.failures as error:
            what = " ".join(str(error).split())
            if self.is_missing(error):
                raise KeyMissing(f"encryption.key: {what}. Is the key there, and may we use it?") from error
            raise KeysUnavailable(f"encryption.provider: the key service fails: {what}.") from error

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        missing: dict[str, str] = {}
        for name in sorted({self.name(tenant) for tenant in tenants}):
            try:
                await self._rotate(name)
            except KeyMissing as fault:
                missing[name] = fault.message.removeprefix("encryption.key: ")
        if missing:
            told = "; ".join(f"{name}: {why}" for name, why in missing.items())
            raise KeyMissing(f"encryption.key: no new version was made of {told}", field="encryption.key")
        return True

    async def _rotate(self, name: str) -> None:
        """Makes a version of that key, which wraps from then on. Raises KeyMissing and KeysUnavailable."""
        raise NotImplementedError

    def is_missing(self, error: Exception) -> bool:
        """Whether asking again would not help."""
        raise NotImplementedError


class VaultKeys(_Service):
    """The transit engine: its keys have versions, of which the newest wraps."""

    def __init__(self, key: str, address: str, mount: str, token_env: str) -> None:
        super().__init__(key)
        import hvac
        from hvac.exceptions import VaultError
        from requests.exceptions import RequestException

        token = os.environ.get(token_env, "")
        if not token:
            raise SettingsFault(
                f"encryption.vault.token_env: the variable {token_env} holds no token. Set it.",
                field="encryption.vault.token_env",
            )
        self.failures = (VaultError, RequestException)
        self._transit = hvac.Client(address, token=token, timeout=SECONDS).secrets.transit
        self._mount = mount

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        found: Any = await self._ask(
            lambda: self._transit.encrypt_data(
                self.name(tenant), _text(key), associated_data=_text(tenant.encode()), mount_point=self._mount
            )
        )
        written: str = found["data"]["ciphertext"]  # vault:v3:…
        return Wrapped(f"{self.name(tenant)}:{written.split(':')[1]}", written.encode())

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        name, ciphertext = wrapped.by.rpartition(":")[0], wrapped.blob.decode(errors="replace")
        found: Any = await self._ask(
            lambda: self._transit.decrypt_data(
                name, ciphertext, associated_data=_text(tenant.encode()), mount_point=self._mount
            )
        )
        return base64.b64decode(found["data"]["plaintext"])

    async def _rotate(self, name: str) -> None:
        await self._ask(lambda: self._transit.rotate_key(name, mount_point=self._mount))

    def is_missing(self, error: Exception) -> bool:
        from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized

        return isinstance(error, InvalidPath | InvalidRequest | Forbidden | Unauthorized)


class AmazonKeys(_Service):
    """KMS: a ciphertext names its key and version itself. Credentials as boto3 finds them."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self.failures = (BotoCoreError, ClientError)
        retries = {"total_max_attempts": 2, "mode": "standard"}
        try:
            self._kms: Any = boto3.client(
                "kms", config=Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries=retries)
            )
        except BotoCoreError as error:
            raise SettingsFault(
                f"encryption.provider: {error} Set AWS_REGION and credentials.", field="encryption.provider"
            ) from None

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        found: Any = await self._ask(
            lambda: self._kms.encrypt(KeyId=self.name(tenant), Plaintext=key, EncryptionContext=_context(tenant))
        )
        return Wrapped(found["KeyId"], found["CiphertextBlob"])

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        found: Any = await self._ask(
            lambda: self._kms.decrypt(KeyId=wrapped.by, CiphertextBlob=wrapped.blob, EncryptionContext=_context(tenant))
        )
        return found["Plaintext"]

    async def _rotate(self, name: str) -> None:
        found: Any = await self._ask(lambda: self._kms.describe_key(KeyId=name))
        id_ = found["KeyMetadata"]["KeyId"]  # an alias is not taken here
        await self._ask(lambda: self._kms.rotate_key_on_demand(KeyId=id_))

    def is_missing(self, error: Exception) -> bool:
        from botocore.exceptions import ClientError

        if not isinstance(error, ClientError):
            return False
        code = error.response["Error"].get("Code", "")
        return code in {
            "NotFoundException", "InvalidCiphertextException", "IncorrectKeyException", "AccessDeniedException",
            "DisabledException", "KMSInvalidStateException",
        }  # fmt: skip


class GoogleKeys(_Service):
    """Cloud KMS: ``projects/P/locations/L/keyRings/R/cryptoKeys/K``; its primary version wraps."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.api_core.retry import Retry
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.cloud import kms

        self.failures = (GoogleAPICallError, RetryError, GoogleAuthError)
        self._within: Any = {"retry": Retry(initial=0.2, timeout=SECONDS), "timeout": SECONDS}
        try:
            self._kms: Any = kms.KeyManagementServiceClient()
        except DefaultCredentialsError as error:
            raise SettingsFault(
                f"encryption.provider: {error} Or set GOOGLE_APPLICATION_CREDENTIALS.", field="encryption.provider"
            ) from None

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        request = {
            "name": self.name(tenant),
            "plaintext": key,
            "additional_authenticated_data": tenant.encode(),
        }
        found = await self._call("encrypt", request)
        return Wrapped(found.name, found.ciphertext)

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        request = {
            "name": wrapped.by.partition("/cryptoKeyVersions/")[0],
            "ciphertext": wrapped.blob,
            "additional_authenticated_data": tenant.encode(),
        }
        return (await self._call("decrypt", request)).plaintext

    async def _rotate(self, name: str) -> None:
        made = await self._call("create_crypto_key_version", {"parent": name, "crypto_key_version": {}})
        request = {"name": name, "crypto_key_version_id": made.name.rpartition("/")[2]}
        await self._call("update_crypto_key_primary_version", request)

    async def _call(self, method: str, request: dict[str, Any]) -> Any:
        return await self._ask(lambda: getattr(self._kms, method)(request=request, **self._within))

    def is_missing(self, error: Exception) -> bool:
        from google.api_core.exceptions import (
            FailedPrecondition,
            Forbidden,
            InvalidArgument,
            NotFound,
            Unauthenticated,
        )

        return isinstance(error, NotFound | Forbidden | InvalidArgument | FailedPrecondition | Unauthenticated)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _context(tenant: str) -> dict[str, str]:
    return {"parley-tenant": tenant or "site"}
