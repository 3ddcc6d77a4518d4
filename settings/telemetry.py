"""The settings of what is told to those who watch: where spans go."""

from __future__ import annotations

from pydantic import Field

from settings.section import Section

__all__ = ["TelemetrySettings"]


class TelemetrySettings(Section):
    """OpenTelemetry: one trace a message, from the gateway through its steps into the engine."""

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/\S*)?$")
    """The collector that takes spans by OTLP over HTTP, as ``http://127.0.0.1:4318``; null: no spans are made."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """The share of traces that begin here and are recorded; a caller's own trace says so itself."""
