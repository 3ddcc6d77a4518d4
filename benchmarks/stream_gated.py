"""What ``stream: gated`` adds to ``stream: open``: the same turns, read from one gateway at the same time by both.

The turns are the articles of the example, as a model would write them: pieces of a token's size. For each character
that a reader of the open stream saw, how much later did the reader behind the gate see it?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import percentile
from benchmarks.gate import HELP, PIECES, pieces
from benchmarks.stream_flow import Stand, finish, places_for, reading
from benchmarks.stream_wire import Reader

__all__ = ["added"]

MODES = ("open", "gated")


async def added(stood: Stand, articles: int, tokens: int, per_second: float) -> list[dict[str, Any]]:
    """A row a language: milliseconds at so many tokens a second, the first ``tokens`` of some articles at once."""
    rows: list[dict[str, Any]] = []
    for language, sizes in PIECES.items():
        texts = [list(pieces(text, sizes))[:tokens] for text in _articles(language, articles)]
        seen = await _seen(stood, texts, per_second)
        late = [1000 * (gated - shown) for shown, gated in zip(seen["open"], seen["gated"], strict=True)]
        rows.append(
            {
                "language": language,
                "tokens_per_second": per_second,
                "characters": len(late),
                **{f"p{share}_ms": round(percentile(late, share), 1) for share in (50, 95)},
                "most_ms": round(max(late), 1),
                "at_once": round(sum(each < 500 / per_second for each in late) / len(late), 3),
            }
        )
    return rows


def _articles(language: str, count: int) -> list[str]:
    return [path.read_text("utf-8") for path in sorted((HELP / language).glob("*.md"))[:count]]


async def _seen(stood: Stand, texts: Sequence[Sequence[str]], per_second: float) -> dict[str, list[float]]:
    """When each character was there, by mode. Raises RuntimeError for a lost one."""
    places = {mode: places_for(len(texts), mode) for mode in MODES}
    every = [place for pair in zip(places["open"], places["gated"], strict=True) for place in pair]
    await stood.writer.do(do="begin", places=every)
    readers = await reading(stood, "server-sent events", every)
    twice = [text for text in texts for _ in MODES]
    await stood.writer.do(do="flow", places=every, texts=twice, per_second=per_second, together=True)
    await finish(stood, every, readers)
    seen: dict[str, list[float]] = {mode: [] for mode in MODES}
    for text, shown, gated in zip(texts, readers[::2], readers[1::2], strict=True):
        times = [_characters(shown), _characters(gated)]
        if [len(each) for each in times] != [len("".join(text))] * 2:
            raise RuntimeError("a reader was not shown what was written")
        for mode, each in zip(MODES, times, strict=True):
            seen[mode] += each
    return seen


def _characters(reader: Reader) -> list[float]:
    times: list[float] = []
    for match, at in reader.matches(rb"event: token\ndata: (.*)\n\n"):
        times += [at] * len(json.loads(match[1])["text"])
    return times
