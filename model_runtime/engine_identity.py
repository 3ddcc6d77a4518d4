"""What decides an engine's tokens: its digest, and what differs between the engine of a record and another.

Two engines of one digest give the same tokens for the same request, as far as they promise that at all. So a rerun is
exact only on the digest that the record names, and what differs can be told before anything is computed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from model_runtime.protocol import EngineDescription

__all__ = ["engine_differences", "with_digest"]

_FORMAT = 3
_DECISIVE = (
    "engine",
    "model_digest",
    "quantization",
    "dtype",
    "kernels",
    "mode",
    "rows",
    "widths",
    "device",
    "threads",
    "options",
)
_REMOTE = tuple(name for name in _DECISIVE if name not in ("rows", "device", "threads"))
"""Of a server that others run: its address and how many requests we send at a time say nothing of what computes."""


def with_digest(description: EngineDescription) -> EngineDescription:
    """``description`` with the ``engine_digest`` of all in it that may change a token."""
    facts = [_FORMAT, *_facts(dataclasses.asdict(description)).items()]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return dataclasses.replace(description, engine_digest=digest)


def engine_differences(recorded: Mapping[str, Any], now: EngineDescription) -> tuple[str, ...]:
    """A line for each fact that may change a token and differs, such as ``rows: 8 when recorded, 4 now``.

    ``recorded`` is the ``engine`` of a try's record. Empty: the same digest, so that an exact rerun may be expected.
    """
    if recorded.get("engine_digest") == now.engine_digest:
        return ()
    before, after = _facts(recorded), _facts(dataclasses.asdict(now))
    names = [*after, *(name for name in before if name not in after)]
    lines = [
        f"{name}: {_shown(before, name)} when recorded, {_shown(after, name)} now"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return tuple(lines) or ("engine_digest: another one when recorded, made by another version of Parley",)


def _facts(description: Mapping[str, Any]) -> dict[str, Any]:
    """By name, as JSON has them; what ``options`` hold, each by its own name."""
    names = _REMOTE if description.get("mode") == "remote" else _DECISIVE
    facts = {name: description[name] for name in names if name in description and name != "options"}
    options = {f"options.{name}": value for name, value in description.get("options", {}).items()}
    return json.loads(json.dumps(facts | options, sort_keys=True))


def _shown(facts: Mapping[str, Any], name: str) -> str:
    return json.dumps(facts[name], ensure_ascii=False).strip('"') if name in facts else "not told"
