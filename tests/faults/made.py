"""What engines make, counted where it leaves their pipe: also the tokens that a kill kept out of the log.

A line a frame, written at once: what a worker has counted outlives it. A token that is in the pipe when the worker is
killed is not counted; an engine writes each as soon as it is made, and the worker waits for nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_runtime import framing
from model_runtime.engine_client import ProcessEngine

__all__ = ["MADE", "Made", "install", "made_of", "made_twice"]

MADE = "FAULT_MADE"
"""The environment's name of the file."""


@dataclass(frozen=True, slots=True)
class Made:
    """``count`` tokens from index ``start`` of an answer on, by one attempt of one try; ``at`` seconds since the
    epoch. The end of an answer is a frame too, and may hold none."""

    stream: str
    try_number: int
    candidate: int
    attempt: int
    start: int
    count: int
    at: float


def install() -> None:
    """Counts in this process from now on. Without a file in the environment nothing is counted."""
    if MADE not in os.environ:
        return
    file = os.open(os.environ[MADE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    hear = ProcessEngine._hear

    def counting(self: ProcessEngine, message: dict[str, Any]) -> None:
        if message["op"] == "event":
            event = framing.unpack_event(message["event"])
            os.write(file, json.dumps([event.id, event.start, len(event.token_ids), time.time()]).encode() + b"\n")
        hear(self, message)

    ProcessEngine._hear = counting  # type: ignore[method-assign]


def made_of(file: Path, stream: str) -> list[Made]:
    """All frames of that turn, in order."""
    found = []
    for line in file.read_text("utf-8").splitlines():
        id_, start, count, at = json.loads(line)
        of, try_number, candidate, attempt = id_.rsplit("/", 3)
        if of == stream:
            found.append(Made(of, int(try_number), int(candidate), int(attempt), start, count, at))
    return found


def made_twice(made: list[Made]) -> int:
    """How many tokens were made again: all that were made beside the first of each place in each candidate's answer."""
    places: Counter[tuple[int, int, int]] = Counter()
    for each in made:
        places.update((each.try_number, each.candidate, each.start + offset) for offset in range(each.count))
    return places.total() - len(places)
