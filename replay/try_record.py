"""What one try left for its exact rerun, as ``generate_answer`` stored it by content."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, ValidationError

from dialogue.base import Value
from dialogue.faults import ContentMissing
from model_runtime.protocol import Sampling

__all__ = ["RecordedCandidate", "TryRecord"]


class RecordedCandidate(Value):
    """``resumed_at``: how many tokens an earlier attempt had made, 0 where one attempt made all."""

    output_ids: tuple[int, ...]
    sampling: dict[str, Any]
    resumed_at: int = 0
    reused_prompt_tokens: int = 0
    finish: str = ""

    @property
    def how(self) -> Sampling:
        lists = {name: tuple(value) for name, value in self.sampling.items() if isinstance(value, list)}
        return Sampling(**{**self.sampling, **lists})


class TryRecord(Value):
    """``engine`` is the engine's own description. Token ids are of the model that it names."""

    prompt_ids: tuple[int, ...]
    prompt_digest: str = ""
    engine: dict[str, Any] = Field(default_factory=dict)
    candidates: tuple[RecordedCandidate, ...] = ()
    resume_points: tuple[int, ...] = ()

    @classmethod
    def of(cls, digest: str, body: bytes) -> TryRecord:
        """Raises ContentMissing where it is none."""
        try:
            return cls.model_validate(json.loads(body))
        except (ValueError, ValidationError):
            raise ContentMissing(f"record: what is stored under {digest} is no try record.") from None
