"""How long records are kept."""

from __future__ import annotations

from pydantic import Field

from settings.section import Section

__all__ = ["RetentionSettings"]


class RetentionSettings(Section):
    """How long records are kept, in days; what is older is removed by the schedule that archives. null: for good."""

    token_log: float = Field(default=7, gt=0)
    """The streams of the turns."""
    archive: float | None = Field(default=None, gt=0)
    """Histories of closed runs, which outlive Temporal's own retention here."""
    payloads: float | None = Field(default=None, gt=0)
    """Payloads outside the histories (``encryption.external``), in a folder or a bucket, which are not readable without
    them: longer than any conversation stays open, and no shorter than ``archive``."""
    audit: float | None = Field(default=None, gt=0)
    """Rows of the audit, with their feedback and try records; no shorter than ``archive``, because a model or snapshot
    that no row names any more may be collected."""
