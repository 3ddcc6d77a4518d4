"""What is printed and where: answers and tables on standard output, errors and progress notes on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["WIDTH", "counted", "output", "plain", "print_json", "print_line"]

WIDTH = 100
"""Nothing is wider, in terminal cells."""

# C0 without tab and line feed, C1, and the characters that turn the direction of writing
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def counted(number: int, what: str) -> str:
    """``1 answer``, ``2 answers``."""
    return f"{number} {what}{'s' * (number != 1)}"


def output(*, stderr: bool = False) -> Console:
    """A console at most :data:`WIDTH` cells wide that leaves texts as they are: no markup, no highlighting."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    narrow = console.is_terminal or "COLUMNS" in os.environ
    console.width = min(console.width, WIDTH) if narrow else WIDTH
    return console


def plain(text: str) -> str:
    """The text without what would move the cursor or reorder the line: control and direction characters."""
    return _UNSAFE.sub("", text)


def print_json(value: Any) -> None:
    """One JSON document, readable, on standard output. Pydantic values and dataclasses are taken as they are."""
    from pydantic_core import to_jsonable_python

    print(json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2))


def print_line(text: str, *, error: bool = False) -> None:
    print(plain(text), file=sys.stderr if error else sys.stdout, flush=True)
