"""What a site keeps beside the histories: audit rows, try records, models. Read only; nothing is made or migrated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import ModelFault, ModelMissing, RecordsUnavailable
from knowledge_base.terms import terms
from model_runtime.model_store import load_manifest
from model_runtime.tokenizer import Tokenizer
from records.audit import AuditLog
from records.audit_rows import KeptRow
from records.audit_words import AuditWords
from records.content import ContentStore
from records.database import connect_database
from records.protection import Protection, open_protection
from replay.try_record import TryRecord
from replay.turns import Turn
from settings.layout import Layout
from settings.schema import ModelSettings, Settings

__all__ = ["Evidence", "evidence"]


class Evidence:
    """Of one site."""

    def __init__(self, settings: Settings, database: AsyncEngine, protection: Protection | None = None) -> None:
        self.settings, self.layout = settings, Layout.of(settings)
        self.database, self.protection = database, protection
        self.keys = protection.keys if protection else None
        self.contents, self.audit = ContentStore(database, self.keys), AuditLog(database, self.keys)
        self.words = AuditWords(database, terms, self.keys)

    async def row(self, turn: Turn) -> KeptRow | None:
        """The turn's row in the audit; ``None`` where there is none."""
        found = await self.audit.turns(turn.conversation, turn.tenant, limit=1, before=turn.turn + 1)
        return found[0] if found and found[0].turn == turn.turn else None

    async def try_record(self, digest: str) -> TryRecord:
        """Raises ContentMissing."""
        return TryRecord.of(digest, await self.contents.get(digest))

    def model(self, digest: str) -> ModelSettings:
        """The model of these settings whose weights have the digest. Raises ModelMissing where this site holds none."""
        held: list[str] = []
        for model in (self.settings.model, *self.settings.models.values()):
            try:
                manifest = load_manifest(self.layout.model(model))
            except ModelFault:
                continue
            if manifest.digest == digest:
                return model
            held.append(f"{model.name}@{manifest.digest[:12]}")
        raise ModelMissing(
            f"model: this site holds {', '.join(held) or 'no prepared model'} and not {digest[:12]}…, which made the "
            "answer. Add that model to temporal.yaml, or look from a site that has it."
        )

    async def tokenizer(self, digest: str) -> Tokenizer:
        """Raises ModelMissing and ModelCorrupt."""
        return await asyncio.to_thread(Tokenizer.load, self.layout.model(self.model(digest)))


@asynccontextmanager
async def evidence(settings: Settings) -> AsyncIterator[Evidence]:
    """Raises RecordsUnavailable where the records are not there: a look at them must not make them; SettingsFault."""
    url = Layout.of(settings).database_url(settings.records.database)
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not await asyncio.to_thread(Path(parsed.database or "").is_file):
        raise RecordsUnavailable(f"records.database: {parsed.database} is not there. Is this the site's temporal.yaml?")
    database = connect_database(url)
    try:
        yield Evidence(settings, database, await asyncio.to_thread(open_protection, settings, database))
    finally:
        await database.dispose()
