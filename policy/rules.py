"""The rules of a policy, as they stand under ``policies`` in ``temporal.yaml``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["PolicyRules"]


class PolicyRules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
