"""The settings of where models come from and where they are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from settings.sections import Section

__all__ = ["PullSettings", "RegistrySettings"]


class RegistrySettings(Section):
    """The registry of models: published versions and the aliases that name them."""

    location: str | None = None
    """A folder, or the ``https://`` address of a raw HTTP store, for several machines; null: ``registry`` below
    ``data``."""
    user: str | None = None
    """The user at the HTTP store, with the token as password; null: the token is sent as a bearer token."""
    token_file: Path | None = None
    """A file with the store's token; the variable ``PARLEY_REGISTRY_TOKEN`` comes first."""
    history: int = Field(default=3, ge=1)
    """How many of an alias's last places ``parley model gc`` keeps, for rollbacks."""

    @field_validator("location")
    @classmethod
    def _location_holds_no_password(cls, location: str | None) -> str | None:
        # the value is not repeated in the message
        if location is not None and "@" in location.partition("://")[2].partition("/")[0]:
            raise PydanticCustomError("location", "must hold no user or password: set registry.user and a token")
        return location


class PullSettings(Section):
    """How ``parley model pull`` brings models in."""

    hub: str | None = Field(default=None, pattern=r"^https?://")
    """The hub that ``owner/name@revision`` is asked of; null: what the hub's own variable says, else the public
    one."""
    token_file: Path | None = None
    """A file with the token; ``PARLEY_MODEL_TOKEN``, and for a hub ``HF_TOKEN``, come first."""
    parallel: int = Field(default=4, ge=1, le=32)
    """Files downloaded at once."""
