"""What the gate adds to an answer that is shown while it flows: ``stream: gated`` against ``open``.

The articles of the example, as a model would write them: pieces of a token's size. ``open`` shows each piece as it
comes; behind the gate a character waits until enough has come to tell that it begins nothing forbidden. The wait is
counted in characters and in pieces, so it holds at any speed; times a model's milliseconds a token it is a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.figures import percentile
from policy.personal_data import KINDS
from policy.policy import Policy
from policy.stream_gate import LONGEST_HELD, StreamGate

__all__ = ["HELP", "PIECES", "pieces", "run", "table"]

HELP = Path(__file__).parents[1] / "examples" / "help"
PIECES = {"en": (4,), "zh": (1, 2)}
"""Characters of the pieces, in turn."""
LETTER = "傻"
"""Begins a listed word: what a text that is made to be held is made of."""


@dataclass(slots=True)
class Waits:
    """Of one language: for each character how many more characters and pieces came before it was shown."""

    characters: list[int] = field(default_factory=list[int])
    pieces: list[int] = field(default_factory=list[int])
    microseconds: list[float] = field(default_factory=list[float])


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a language. The articles' own numbers and addresses pass, so that each character that came is shown.

    That takes nothing off the wait: while one kind of personal data is masked, all of it is held to be told apart.
    """
    output = {"personal_data": {kind: "pass" for kind in KINDS if kind != "iban"}}
    policy = Policy.build({"words": ["words/en.txt", "words/zh.txt"], "output": output}, HELP)
    first = _first(policy)
    rows: list[dict[str, Any]] = []
    for language, sizes in PIECES.items():
        waits = Waits()
        for path in sorted((HELP / language).glob("*.md"))[: 2 if quick else None]:
            _flow(policy, list(pieces(path.read_text("utf-8"), sizes)), waits)
        rows.append({"language": language, **_row(waits)})
    return {"rows": rows, "first_feed_milliseconds": first, "held_at_most_microseconds": _held(policy)}


def pieces(text: str, sizes: tuple[int, ...]) -> Iterator[str]:
    at = number = 0
    while at < len(text):
        size = sizes[number % len(sizes)]
        yield text[at : at + size]
        at, number = at + size, number + 1


def _flow(policy: Policy, pieces: list[str], waits: Waits) -> None:
    """Raises RuntimeError where what was shown is not what came."""
    gate, came, shown = StreamGate(policy), 0, ""
    arrived: list[tuple[int, int]] = []  # of each character: how many had come with its piece, and which piece it was
    for number, piece in enumerate([*pieces, ""]):
        came += len(piece)
        arrived.extend([(came, number)] * len(piece))
        began = time.perf_counter()
        now = gate.feed(piece) if piece else gate.close()
        waits.microseconds.append(1e6 * (time.perf_counter() - began))
        for had_come, in_piece in arrived[len(shown) : len(shown) + len(now)]:
            waits.characters.append(came - had_come)
            waits.pieces.append(min(number, len(pieces) - 1) - in_piece)
        shown += now
    if shown != "".join(pieces):
        raise RuntimeError("the gate changed an article that holds nothing forbidden")


def _row(waits: Waits) -> dict[str, Any]:
    return {
        "characters": len(waits.characters),
        **{f"{name}_waited": _spread(values) for name, values in _counts(waits).items()},
        "at_once": round(waits.pieces.count(0) / len(waits.pieces), 3),
        "microseconds_a_feed": _spread(waits.microseconds),
    }


def _counts(waits: Waits) -> dict[str, list[int]]:
    return {"characters": waits.characters, "pieces": waits.pieces}


def _spread(values: list[int] | list[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(values, 50), 1),
        "p95": round(percentile(values, 95), 1),
        "most": round(max(values), 1),
    }


def _first(policy: Policy) -> float:
    """Milliseconds of a policy's very first feed: tables and patterns are made that stay."""
    began = time.perf_counter()
    StreamGate(policy).feed("é1@")
    return round(1000 * (time.perf_counter() - began), 1)


def _held(policy: Policy) -> dict[str, float]:
    """Microseconds of a feed while as much is held back as ever may be."""
    gate, waits = StreamGate(policy), Waits()
    for _ in range(LONGEST_HELD):
        began = time.perf_counter()
        gate.feed(LETTER)
        waits.microseconds.append(1e6 * (time.perf_counter() - began))
    return _spread(waits.microseconds)


def table(result: dict[str, Any]) -> Table:
    title = "Behind the gate: how much more comes before a character is shown, and what a feed costs"
    shown = Table("", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("characters p50", "p95", "most", "pieces p50", "p95", "most", "at once", "µs p50", "p95", "most"):
        shown.add_column(column, justify="right")
    for row in result["rows"]:
        spreads = (row["characters_waited"], row["pieces_waited"])
        waited = [f"{spread[name]:.0f}" for spread in spreads for name in ("p50", "p95", "most")]
        cost = [f"{row['microseconds_a_feed'][name]:.0f}" for name in ("p50", "p95", "most")]
        shown.add_row(row["language"], *waited, f"{row['at_once']:.0%}", *cost)
    held = result["held_at_most_microseconds"]
    shown.caption = f"a policy's very first feed: {result['first_feed_milliseconds']:.0f} ms"
    shown.add_row("made to be held", *[""] * 7, *(f"{held[name]:.0f}" for name in ("p50", "p95", "most")))
    return shown
