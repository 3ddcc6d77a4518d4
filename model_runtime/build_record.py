"""How a version came about and what was found out about it: ``build.json`` beside its manifest.

It is no part of the digest, because measurements come later than the files and may be made again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dialogue.faults import RegistryFault
from model_runtime.model_store import ModelManifest

__all__ = ["BUILD", "BuildRecord", "parse_record"]

BUILD = "build.json"


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """``bytes_before`` as bf16, ``bytes_after`` as held.

    ``quality`` holds what was measured on both (perplexity, agreement of greedy tokens, speed), and ``gate`` whether
    that was enough; ``None`` before anybody measured. ``more`` is whatever else a writer put there.
    """

    source: str
    source_digest: str
    method: str
    bytes_before: int
    bytes_after: int
    built_with: dict[str, str]
    built_seconds: float
    built_by: str
    built_at: str
    quality: dict[str, Any] | None = None
    gate: Literal["passed", "failed"] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: ModelManifest, *, by: str, at: str) -> BuildRecord:
        return cls(
            source=manifest.source,
            source_digest=manifest.source_digest,
            method=manifest.method,
            bytes_before=manifest.bytes_before,
            bytes_after=manifest.bytes_after,
            built_with=manifest.built_with,
            built_seconds=manifest.built_seconds,
            built_by=by,
            built_at=at,
        )

    def to_json(self) -> bytes:
        raw = asdict(self)
        raw |= raw.pop("more")
        return (json.dumps(raw, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def parse_record(body: bytes, where: str) -> BuildRecord:
    """Raises :class:`RegistryFault` where it cannot be read: a record that failed must not pass for none."""
    try:
        raw: dict[str, Any] = json.loads(body)
        known = {name: raw.pop(name) for name in BuildRecord.__dataclass_fields__ if name in raw}
        record = BuildRecord(**known, more=raw)
        if record.gate not in (None, "passed", "failed"):
            raise ValueError(f"gate is {record.gate!r}: passed, failed or null")
    except (ValueError, TypeError, AttributeError) as error:
        raise RegistryFault(f"{where} cannot be read ({error}): write it anew, or build the model again.") from error
    return record
