"""The registry as the settings place it, and who asks."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from model_runtime.registry import Registry
    from model_runtime.registry_index import Reference
    from settings.schema import Settings

__all__ = ["By", "VersionName", "open_registry", "parse", "short", "token", "who"]

By = Annotated[str | None, Parameter(name="--by", help="Who does it, for the history; else your login name.")]
VersionName = Annotated[str, Parameter(help="NAME@ALIAS or NAME@DIGEST; 8 digits of it are enough.")]


def open_registry(settings: Settings) -> Registry:
    """Raises SettingsFault where the store's token cannot be read."""
    from model_runtime.registry import Registry
    from model_runtime.registry_store import FolderStore
    from settings.layout import Layout

    location = settings.registry.location
    if not location:
        return Registry(FolderStore(Layout.of(settings).registry))
    if location.startswith(("http://", "https://")):
        from model_runtime.registry_http import HttpStore

        secret = token(settings.registry.token_file, "registry.token_file", "PARLEY_REGISTRY_TOKEN")
        return Registry(HttpStore(location, user=settings.registry.user, token=secret, parallel=settings.pull.parallel))
    return Registry(FolderStore(settings.resolve(Path(location).expanduser())))


def token(file: Path | None, setting: str, *variables: str) -> str | None:
    """The first of the variables that is set, else what the file holds. Raises SettingsFault naming ``setting``."""
    from dialogue.faults import SettingsFault

    for variable in variables:
        if given := os.environ.get(variable, "").strip():
            return given
    if file is None:
        return None
    try:
        held = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingsFault(
            f"{setting}: {file} cannot be read ({reason}): put the token there.", field=setting
        ) from None
    if not held or len(held.split()) > 1:
        raise SettingsFault(f"{setting}: {file} must hold a token and nothing else.", field=setting)
    return held


def parse(text: str) -> Reference:
    """As :func:`model_runtime.registry_index.parse_reference`."""
    from model_runtime.registry_index import parse_reference

    return parse_reference(text)


def who(given: str | None) -> str:
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def short(digest: str) -> str:
    """As tables show it; enough to name it."""
    return digest[:12]
