"""What a registry knows of its models: versions, aliases and their history, as one JSON document in its store.

The document is the registry: files that it does not name are not there for anybody. So a version appears and an alias
moves in one write.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dialogue.faults import InvalidRequest, NoSuchVersion, RegistryFault

__all__ = [
    "SCHEME",
    "Alias",
    "Index",
    "Model",
    "Move",
    "Reference",
    "Version",
    "check_alias",
    "check_name",
    "parse_reference",
]

FORMAT = 1
SCHEME = "registry:"
"""Before a reference, where other sources may stand: in ``model.source``."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_ALIAS = re.compile(r"(?![0-9a-f]{8,}$)[a-z][a-z0-9-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_WHOLE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """``name@version``; ``version`` is an alias, or a digest of 8 to 64 hexadecimal digits."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str | None:
        """Where it is given whole: then the reference always means the same."""
        return self.version if _WHOLE.fullmatch(self.version) else None


@dataclass(frozen=True, slots=True)
class Version:
    """A published model. ``at`` is UTC, ISO 8601; ``bytes`` of all its files; ``removing`` while it is collected."""

    method: str
    bytes: int
    by: str
    at: str
    removing: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """An alias was set: to what, by whom, when (UTC, ISO 8601), why."""

    digest: str
    by: str
    at: str
    how: Literal["promote", "rollback"] = "promote"
    reason: str = ""


@dataclass(slots=True)
class Alias:
    """All moves, oldest first."""

    moves: list[Move] = field(default_factory=list)

    def before(self) -> list[str]:
        """The digests a rollback goes through, the last one being where the alias is: a rollback takes one off."""
        stack: list[str] = []
        for move in self.moves:
            if move.how == "promote":
                stack.append(move.digest)
            elif stack:
                stack.pop()
        return stack

    @property
    def digest(self) -> str:
        return self.moves[-1].digest


@dataclass(slots=True)
class Model:
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)

    def alias(self, name: str) -> Alias:
        """That alias, made where there is none."""
        return self.aliases.setdefault(name, Alias())


@dataclass(slots=True)
class Index:
    """The models by name."""

    models: dict[str, Model] = field(default_factory=dict)

    @classmethod
    def from_json(cls, body: bytes, where: str) -> Index:
        """Raises :class:`RegistryFault` where it cannot be read."""
        try:
            raw: dict[str, Any] = json.loads(body)
            if raw["format"] != FORMAT:
                raise ValueError(f"its format is {raw['format']}, this Parley reads {FORMAT}")
            return cls({_matching(_NAME, name): _model(model) for name, model in raw["models"].items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RegistryFault(
                f"{where} cannot be read ({error}): put back a copy of it, or use a registry of its own."
            ) from error

    def to_json(self) -> bytes:
        raw = {"format": FORMAT, **asdict(self)}
        return (json.dumps(raw, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()

    def model(self, name: str) -> Model:
        """Raises :class:`NoSuchVersion`."""
        if name not in self.models:
            known = ", ".join(sorted(self.models)) or "none yet"
            raise NoSuchVersion(
                f"{name}: the registry has no such model; it has {known}. Look with `parley model list`."
            )
        return self.models[name]

    def resolve(self, reference: Reference) -> str:
        """The whole digest. Raises :class:`NoSuchVersion`, also where short digits fit several versions."""
        model = self.model(reference.name)
        if (alias := model.aliases.get(reference.version)) is not None:
            return alias.digest
        there = [digest for digest, version in model.versions.items() if not version.removing]
        fitting = [digest for digest in there if digest.startswith(reference.version)]
        if len(fitting) == 1 and _DIGEST.fullmatch(reference.version):
            return fitting[0]
        if fitting and _DIGEST.fullmatch(reference.version):
            raise NoSuchVersion(f"{reference}: {len(fitting)} versions begin with these digits; give more of them.")
        aliases = ", ".join(sorted(model.aliases)) or "none"
        raise NoSuchVersion(
            f"{reference}: there is no such version or alias; aliases: {aliases}. Look with `parley model list`."
        )


def _model(raw: dict[str, Any]) -> Model:
    versions = {_matching(_WHOLE, digest): Version(**version) for digest, version in raw["versions"].items()}
    aliases = {_matching(_ALIAS, name): _alias(alias) for name, alias in raw["aliases"].items()}
    return Model(versions, aliases)


def _alias(raw: dict[str, Any]) -> Alias:
    moves = [Move(**move) for move in raw["moves"]]
    if not moves:
        raise ValueError("an alias that was never set")
    for move in moves:
        _matching(_WHOLE, move.digest)
    return Alias(moves)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    """Names and digests become paths: what is written there by hand or by others must not lead elsewhere."""
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is neither a name nor a digest")
    return text


def check_name(name: str) -> str:
    """Raises :class:`InvalidRequest`."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"name: {name!r} is no name of a model: letters, digits, `.`, `_` and `-`, at most 96.", field="name"
        )
    return name


def check_alias(alias: str) -> str:
    """Raises :class:`InvalidRequest`."""
    if not _ALIAS.fullmatch(alias):
        raise InvalidRequest(
            f"alias: {alias!r} is no alias: a small letter first, then small letters, digits and `-`, at most 32, and "
            "not to be taken for a digest; such as prod.",
            field="alias",
        )
    return alias


def parse_reference(text: str) -> Reference:
    """``name@alias`` or ``name@digest``, with ``registry:`` before it or not. Raises :class:`InvalidRequest`."""
    name, _, version = text.removeprefix(SCHEME).partition("@")
    if not (_NAME.fullmatch(name) and (_ALIAS.fullmatch(version) or _DIGEST.fullmatch(version))):
        raise InvalidRequest(
            f"version: {text!r} names no version: give NAME@ALIAS or NAME@DIGEST, with at least 8 digits of it.",
            field="version",
        )
    return Reference(name, version)
