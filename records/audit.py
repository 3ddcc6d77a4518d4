"""The audit: one row for every accepted message, exactly once, in a hash chain per tenant."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from records.audit_rows import AuditReceipt, AuditRow, ConversationSummary, KeptFeedback, KeptRow, Problem

__all__ = ["AuditLog", "AuditReceipt", "AuditRow", "ConversationSummary", "KeptFeedback", "KeptRow", "Problem"]


class AuditLog:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def append(self, row: AuditRow) -> AuditReceipt:
        """Writes the row once, however often attempted, by however many processes at once.

        Raises RecordsConflict when this conversation and turn hold another content. ``latency_ms`` and ``run_id``
        say which attempt wrote the row; they are kept of the first and not compared.
        """
        raise NotImplementedError

    async def verify(self, tenant: str | None = None) -> list[Problem]:
        """Reads the chain of one tenant, or of all, and names every row that is not as it was written."""
        raise NotImplementedError

    async def turns(
        self, conversation: str, tenant: str, *, limit: int = 50, before: int | None = None
    ) -> list[KeptRow]:
        """The last ``limit`` turns (below turn ``before``), oldest first."""
        raise NotImplementedError

    async def by_id(self, id_: int, tenant: str | None = None) -> KeptRow | None:
        raise NotImplementedError

    async def conversations(self, tenant: str, *, limit: int = 100) -> list[ConversationSummary]:
        """Those with the newest rows first."""
        raise NotImplementedError

    async def count(self, tenant: str | None = None) -> int:
        raise NotImplementedError

    async def keep_feedback(
        self, *, conversation: str, turn: int, tenant: str, user: str, score: int, comment: str = ""
    ) -> None:
        """One opinion per conversation, turn and user: the last one wins."""
        raise NotImplementedError

    async def feedback(self, conversation: str, tenant: str) -> list[KeptFeedback]:
        raise NotImplementedError
