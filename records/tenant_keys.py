"""Tenants' keys: they wrap data keys and leave their holder never, or, out of a file or a variable, only into memory.

A :class:`KeyProvider` wraps under its newest key and unwraps under every one it still has, so that keys are changed
while everything runs. :func:`open_key_provider` opens the one that the settings name.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dialogue.faults import KeyMissing, SettingsFault
from records.private_file import hand_over, replace_private, write_private_once
from records.seal import KEY_BYTES, DataKey, new_key, place, seal, unseal
from settings.layout import Layout
from settings.schema import Settings

__all__ = ["EnvironmentKeys", "KeyProvider", "LocalKeys", "SiteKeys", "Wrapped", "open_key_provider"]


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key under a tenant's key; ``by`` is that key's id."""

    by: str
    blob: bytes

    @classmethod
    def under(cls, by: DataKey, tenant: str, key: bytes) -> Wrapped:
        """``by``: the tenant's key, wherever it came from: each process that has it reads what another wrapped."""
        return cls(by.id, seal(by, key, place("data key", tenant, by.id)))

    def opened(self, by: DataKey, tenant: str) -> bytes:
        """Raises SealBroken."""
        return unseal(by, self.blob, place("data key", tenant, self.by))


class KeyProvider(Protocol):
    """Every method may raise KeysUnavailable and SettingsFault."""

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        """Under the tenant's newest key."""
        ...

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        """Raises KeyMissing where the wrapping key is gone, SealBroken where another tenant's was wrapped."""
        ...

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        """Makes a new key for each tenant, with which :meth:`wrap` goes on. False: whoever runs the site does that.
        Raises KeyMissing for a tenant's that is gone, when all others have theirs."""
        ...


def open_key_provider(settings: Settings) -> KeyProvider | None:
    """None where nothing is encrypted. Raises SettingsFault, also where an extra is not installed."""
    given = settings.encryption
    if given.provider == "none":
        return None
    if given.provider == "local":
        path = settings.resolve(given.key_file) if given.key_file else Layout.of(settings).site_keys
        return LocalKeys(path, make=given.key_file is None)
    if given.provider == "environment":
        return EnvironmentKeys(given.key_env)
    if given.provider == "attested":
        from records.attested_keys import AttestedKeys

        return AttestedKeys.open(settings)
    from records.key_services import open_key_service

    return open_key_service(given)


class SiteKeys:
    """Keys of the site, from which each tenant's are derived (HKDF, RFC 5869)."""

    def __init__(self, setting: str, where: str) -> None:
        self._setting, self._where = setting, where
        self._keys: dict[str, bytes] = {}

    def _take(self, written: list[str]) -> None:
        keys: dict[str, bytes] = {}
        for line in filter(None, map(str.strip, written)):
            try:
                key = base64.b64decode(line, validate=True)
            except binascii.Error:
                key = b""
            if len(key) != KEY_BYTES:
                raise SettingsFault(
                    f"{self._setting}: {self._where} must hold keys of {KEY_BYTES} bytes in Base64; "
                    "`openssl rand -base64 32` makes one.",
                    field=self._setting,
                )
            keys[hashlib.sha256(b"parley site key\0" + key).hexdigest()[:16]] = key
        if not keys:
            raise SettingsFault(f"{self._setting}: {self._where} holds no key. Put one there.", field=self._setting)
        self._keys = keys

    def _read_again(self) -> None:
        """Whoever else holds them may have put a new one in front."""

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        self._read_again()
        return Wrapped.under(self._of_tenant(tenant, next(iter(self._keys))), tenant, key)

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        if wrapped.by not in self._keys:
            self._read_again()
        if wrapped.by not in self._keys:
            raise KeyMissing(
                f"{self._setting}: {self._where} has no key {wrapped.by}, under which data of tenant {tenant} is "
                "wrapped. Put it back behind the others.",
                field=self._setting,
            )
        return wrapped.opened(self._of_tenant(tenant, wrapped.by), tenant)

    def of_tenant(self, tenant: str) -> tuple[DataKey, ...]:
        """The tenant's keys, the newest first: for the key service, which hands them on."""
        self._read_again()
        return tuple(self._of_tenant(tenant, by) for by in self._keys)

    def _of_tenant(self, tenant: str, by: str) -> DataKey:
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=place("parley tenant key", tenant))
        return DataKey(by, derived.derive(self._keys[by]))


class LocalKeys(SiteKeys, KeyProvider):
    """Out of a file that its owner alone may read. ``make``: writes one where there is none.

    The file is read again when it changed, so another process's :meth:`rotate` reaches this one.
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        super().__init__("encryption.key_file", str(path))
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        if make:
            write_private_once(path, _line(new_key()))
        self._read_again()

    def _read_again(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self._seen:
                return
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise SettingsFault(
                    f"encryption.key_file: {self._path} can be read by others than its owner. "
                    f"Run `chmod 600 {self._path}`, and change its keys with `parley keys rotate`.",
                    field=self._setting,
                )
            written = self._path.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise SettingsFault(
                f"encryption.key_file: {self._path} cannot be read ({why}). Put the keys there, for every gateway and "
                "worker the same.",
                field=self._setting,
            ) from None
        self._take(written)
        self._seen = seen

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        """Of several processes that do so at once, none takes another's new key away."""
        await asyncio.to_thread(self._put_in_front, new_key())
        return True

    def _put_in_front(self, key: bytes) -> None:
        from filelock import FileLock

        path = self._path.resolve()  # where this is a link, others read the file under its own name
        lock = path.with_name(f"{path.name}.lock")
        try:
            with FileLock(lock, mode=0o600):
                self._seen = None  # of a file on another machine the moment may be an old one
                self._read_again()
                owner = path.stat().st_uid  # root may run this, and the workers not
                hand_over(lock, owner)
                replace_private(path, _line(key) + "".join(map(_line, self._keys.values())), owner=owner)
        except OSError as error:
            raise SettingsFault(
                f"encryption.key_file: {self._path} cannot be replaced ({error.strerror or error}). Put the new key "
                "into it where it is made: behind the others first, for every process, then in front, and run "
                "`parley keys rotate --rewrap-only`.",
                field=self._setting,
            ) from None


class EnvironmentKeys(SiteKeys, KeyProvider):
    """Out of a variable, as a container's secret gives it: keys with commas between them."""

    def __init__(self, variable: str) -> None:
        super().__init__("encryption.key_env", f"the variable {variable}")
        self._take(os.environ.get(variable, "").split(","))

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        return False


def _line(key: bytes) -> str:
    return base64.b64encode(key).decode() + "\n"
