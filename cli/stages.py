"""Progress of what takes a while: ``[2/6] Model …`` lines, with what is going on while one is not finished."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

__all__ = ["Stage", "Stages", "working"]

_LABEL = 40
_QUIET_SECONDS = 2.0
"""Without a terminal, how often at most a stage says how far it is."""


class Stage:
    """One stage while it runs: :meth:`update` says how far it is, :meth:`done` what came of it."""

    def __init__(self, console: Console, head: str, status: Status | None) -> None:
        self._console = console
        self._head = head
        self._status = status
        self._told_at = time.monotonic()
        self.result = ""

    def update(self, text: str) -> None:
        if self._status is not None:
            self._status.update(f"{self._head}{text}")
        elif time.monotonic() - self._told_at >= _QUIET_SECONDS:
            self._told_at = time.monotonic()
            self._console.print(f"{self._head}{text} …")

    def done(self, text: str) -> None:
        self.result = text


class Stages:
    """Numbers the stages of one start."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0

    @contextlib.contextmanager
    def stage(self, label: str) -> Iterator[Stage]:
        """A line once it is done; a stage that raises leaves the line to the error."""
        self._number += 1
        head = f"  [{self._number}/{self._total}] {label}".ljust(_LABEL) + "  "
        with working(self._console, head=head) as stage:
            yield stage
        self._console.print(_line(head, stage.result))


def _line(head: str, text: str) -> Table:
    """``text`` wraps below itself, not below ``head``."""
    from rich.table import Table

    line = Table.grid(padding=0)
    line.add_column(no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(head, text)
    return line


@contextlib.contextmanager
def working(console: Console, text: str = "", *, head: str = "") -> Iterator[Stage]:
    """Shows in one moving line of a terminal, or in a line now and then, how far something is."""
    if not console.is_terminal:
        yield Stage(console, head, None)
        return
    with console.status(f"{head}{text or '…'}") as status:
        yield Stage(console, head, status)
