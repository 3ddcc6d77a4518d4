"""What a process needs to read and write what the site encrypts, without the weight of it where nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from records.protection import Protection
    from settings.schema import Settings

__all__ = ["protection_of"]


def protection_of(settings: Settings) -> Protection | None:
    """None where nothing is encrypted; then nothing is imported for it either. Raises SettingsFault."""
    if settings.encryption.provider == "none":
        return None
    from records.protection import open_protection

    return open_protection(settings)
