"""Every recorded history is replayed by today's workflow code: the same commands in the same order."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from dialogue.plan import Poor, Rung
from tests.support.history_shapes import SHAPES
from tests.support.record_histories import FOLDER
from tests.support.replay import replay
from workflows.wording import words

HISTORIES = sorted(FOLDER.glob("*.json"))


def test_there_is_a_history_of_every_shape() -> None:
    """None was lost, and none is left of a shape that is no longer recorded."""
    assert {path.name.split(".")[0] for path in HISTORIES} == set(SHAPES)


RUNGS = {
    "temperature": "→ temperature 0.7",
    "passages": "→ passages 1",
    "history": "→ history 0",
    "max_new_tokens": "→ max new tokens 20",
    "thinking_budget": "→ thinking budget 16",
    "candidates": "→ candidates 3",
    "model": "→ model fallback",
    "quote": "quote_passages · try 3 of 4",
    "template": "the ladder is at its end",
    "human": "too long; edit by ann",
}
"""By what a rung changes, as the histories' payloads say it. ``top_p`` changes the arguments of a try like another."""


def _payloads(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("data"), str):
            yield base64.b64decode(value["data"]).decode()
        for each in value.values():
            yield from _payloads(each)
    elif isinstance(value, list):
        for each in value:
            yield from _payloads(each)


def test_there_is_a_history_of_every_rung_and_of_what_leads_to_it() -> None:
    """Of each way of being poor, and of each kind of change that a rung can make."""
    recorded = "\n".join(text for path in HISTORIES for text in _payloads(json.loads(path.read_text())))
    poor = {poor for poor in get_args(Poor) if f"{words(poor)} →" in recorded or f'"why":"{poor}"' in recorded}
    assert poor == set(get_args(Poor))
    assert set(RUNGS) | {"top_p"} == set(Rung.model_fields)
    assert [rung for rung, said in RUNGS.items() if said not in recorded] == []


@pytest.mark.parametrize("strict", [False, True], ids=["as-served", "strict"])
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_replays(path: Path, strict: bool) -> None:
    """The workflow code of today makes the commands that were recorded."""
    failure = replay(path.stem, strict=strict)
    assert failure is None, failure
