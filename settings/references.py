"""The files that the settings name: are they there?"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from settings.origins import Place, Problem
from settings.schema import ModelSettings, Section, Settings

__all__ = ["missing"]

_WHEEL = "wheel:"
_REGISTRY = "registry:"


def missing(settings: Settings) -> Iterator[Problem]:
    """A problem for each file, folder or package that is named and cannot be found. Reads nothing but folders."""
    for place, path in _paths(settings):
        if not settings.resolve(path).exists():
            yield Problem(place, f"there is no {path}")
    for place, reference in _references(settings):
        package = reference.removeprefix(_WHEEL)
        if package == reference:
            if not settings.resolve(reference).exists():
                yield Problem(place, f"there is no {reference}")
        elif importlib.util.find_spec(package.split(".")[0]) is None:
            wheel = package.replace("_", "-")
            yield Problem(place, f"the package {package} is not installed. Install it: pip install --no-deps {wheel}")


def _paths(settings: Settings) -> Iterator[tuple[Place, Path]]:
    for index, source in enumerate(settings.knowledge.sources):
        yield ("knowledge", "sources", index), source
    yield ("intents", "file"), settings.intents.file
    if tls := settings.temporal.tls:
        for name in ("server_root_ca", "client_cert", "client_key"):
            if path := getattr(tls, name):
                yield ("temporal", "tls", name), path
    if path := settings.access.signing_key:
        yield ("access", "signing_key"), path
    yield from _secured(settings)
    for place, model in _models(settings):
        for name in ("python", "api_key_file"):
            if path := getattr(model, name):
                yield (*place, name), path


def _secured(settings: Settings) -> Iterator[tuple[Place, Path]]:
    """The certificates and keys of the edge."""
    sections: tuple[tuple[Place, Section | None, tuple[str, ...]], ...] = (
        (("temporal",), settings.temporal, ("api_key_file",)),
        (("records", "redis_tls"), settings.records.redis_tls, ("ca", "cert", "key")),
        (("gateway", "tls"), settings.gateway.tls, ("cert", "key", "client_ca")),
    )
    for place, section, names in sections:
        for name in names:
            if path := getattr(section, name, None):
                yield (*place, name), path


def _references(settings: Settings) -> Iterator[tuple[Place, str]]:
    yield ("knowledge", "embedding", "model"), settings.knowledge.embedding.model
    for place, model in _models(settings):
        if not model.source.startswith(_REGISTRY):  # looked up when it is prepared
            yield (*place, "source"), model.source


def _models(settings: Settings) -> Iterator[tuple[Place, ModelSettings]]:
    yield ("model",), settings.model
    for alias, model in settings.models.items():
        yield ("models", alias), model
