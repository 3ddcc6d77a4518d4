"""The base of every value that travels between steps, workflows and callers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["CallerInput", "Value"]


class Value(BaseModel):
    """An immutable value. Unknown fields are ignored, so that an older reader takes a newer writer's."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class CallerInput(BaseModel):
    """What a caller sends: unknown fields are refused by name, so that a typing error is never lost."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
