"""What encrypts and signs, built from the settings: the one place where keys, codec and stores are put together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.converter import DataConverter, ExternalStorage

from records.codec import EncryptionCodec
from records.data_keys import DataKeys
from records.database import connect_database
from records.payload_store import external_storage
from records.payloads import SealedFailureConverter, data_converter
from records.tenant_keys import open_key_provider
from settings.layout import Layout
from settings.schema import Settings

__all__ = ["Protection", "open_codec", "open_protection"]


@dataclass(frozen=True, slots=True)
class Protection:
    """Of one process. ``keys`` seal the records' texts, ``codec`` the payloads."""

    keys: DataKeys
    codec: EncryptionCodec
    external: ExternalStorage | None = None

    @property
    def data_converter(self) -> DataConverter:
        """Convert, seal, store outside; failures with their messages and stack traces among what is sealed."""
        return dataclasses.replace(
            data_converter,
            payload_codec=self.codec,
            external_storage=self.external,
            failure_converter_class=SealedFailureConverter,
        )


def open_protection(settings: Settings, engine: AsyncEngine | None = None) -> Protection | None:
    """None where ``encryption.provider`` is ``none``. Nothing has to be closed.

    ``engine``: the records' database, where the process has it open anyway; else each look into it is a connection of
    its own, of which there are few, because keys are remembered. Its tables are made by workers and by ``parley up``.
    Raises SettingsFault.
    """
    provider = open_key_provider(settings)
    if provider is None:
        return None
    if engine is None:
        url = Layout.of(settings).database_url(settings.records.database)
        engine = connect_database(url, pooled=False)
    given = settings.encryption
    keys = DataKeys(engine, provider, remember_seconds=given.cache_seconds)
    return Protection(keys, EncryptionCodec(keys, accept_plain=given.accept_plain), external_storage(settings))


def open_codec(settings: Settings, engine: AsyncEngine | None = None) -> EncryptionCodec | None:
    """The codec alone, as a codec server needs it: ``with_context`` and ``for_user`` say whose payloads come."""
    protection = open_protection(settings, engine)
    return None if protection is None else protection.codec
