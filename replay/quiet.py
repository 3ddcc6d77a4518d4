"""The parts of a site with every way out closed: steps run with them read what is kept and leave nothing behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.stream_events import StreamEvents
from records.audit import AuditLog
from records.audit_rows import AuditReceipt, AuditRow
from records.content import ContentStore
from records.data_keys import DataKeys
from records.signing import Signer
from records.token_log import ENDS, Resume, StreamEvent, TokenLog
from replay.evidence import Evidence
from settings.schema import Settings
from workers.parts import Parts

__all__ = ["QuietContents", "no_token_log", "quiet_parts"]


class _NoTokenLog:
    """A :class:`~records.token_log.TokenLog` that takes everything and keeps nothing: every try begins anew."""

    async def publish(self, stream: str, kind: str, data: Mapping[str, Any], *, key: str | None = None) -> int:
        return 0

    async def open_attempt(self, stream: str, try_number: int, candidate: int, attempt: int) -> Resume:
        return Resume((), "", 0)

    async def append_tokens(
        self,
        stream: str,
        try_number: int,
        candidate: int,
        attempt: int,
        expected_offset: int,
        token_ids: Sequence[int],
        pieces: Sequence[tuple[str, str]],
        *,
        show: bool | None = None,
    ) -> int:
        return 0

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> list[StreamEvent]:
        return []

    async def follow(
        self, stream: str, after: int = 0, *, until_kinds: Sequence[str] = ENDS
    ) -> AsyncGenerator[StreamEvent, None]:
        for event in await self.read(stream, after):
            yield event

    async def tokens(self, stream: str, try_number: int, candidate: int) -> tuple[int, ...]:
        return ()

    async def trim(self, older_than: float) -> int:
        return 0

    async def close(self) -> None:
        return None


def no_token_log() -> TokenLog:
    return _NoTokenLog()


class QuietContents(ContentStore):
    """Gives what is stored; what is put stays in this process."""

    def __init__(self, engine: AsyncEngine, keys: DataKeys | None = None) -> None:
        super().__init__(engine, keys)
        self.put_here: dict[str, bytes] = {}

    async def put(self, kind: str, body: bytes | Mapping[str, Any], *, workflow: str | None = None) -> str:
        if not isinstance(body, bytes):
            canonical = json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
            body = canonical.encode("ascii")
        digest = hashlib.sha256(body).hexdigest()
        self.put_here[digest] = body
        return digest

    async def get(self, digest: str) -> bytes:
        here = self.put_here.get(digest)
        return await super().get(digest) if here is None else here


class _QuietAudit(AuditLog):
    """Writes no row."""

    async def append(self, row: AuditRow) -> AuditReceipt:
        return AuditReceipt(0, "", created=False)


def quiet_parts(evidence: Evidence, settings: Settings) -> Parts:
    """The parts that the workers' steps are built from, over the same records."""
    token_log = no_token_log()
    return Parts(
        settings=settings,
        layout=evidence.layout,
        database=evidence.database,
        token_log=token_log,
        events=StreamEvents(token_log),
        contents=QuietContents(evidence.database, evidence.keys),
        audit=_QuietAudit(evidence.database, evidence.keys),
        protection=evidence.protection,
        signer=Signer([Ed25519PrivateKey.generate()]),  # what is only tried is not signed with the site's key
    )
