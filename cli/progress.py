"""A bar for what takes minutes: a share with a text, or bytes with their speed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

__all__ = ["byte_bar", "share_bar"]

_QUIET_SECONDS = 5.0
"""Without a terminal, how often at most a line says how far it is."""


@contextlib.contextmanager
def share_bar() -> Iterator[Callable[[str, float], None]]:
    """Gives what is to be called with a text and the share done, 0 to 1. On standard error."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from cli.console import output

    console = output(stderr=True)
    if not console.is_terminal:
        yield _in_lines(lambda text, share: f"{share:.0%} · {text}")
        return
    columns = (BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda text, share: shown.update(task, completed=share, description=text)


@contextlib.contextmanager
def byte_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Gives what is to be called with the bytes done and all of them. On standard error."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from cli.console import output

    console = output(stderr=True)
    if not console.is_terminal:
        tell = _in_lines(lambda done, total: f"{what} · {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        yield tell
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _in_lines(line: Callable[..., str]) -> Callable[..., None]:
    from cli.console import print_line

    told_at = time.monotonic()

    def tell(*how_far: object) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _QUIET_SECONDS:
            told_at = time.monotonic()
            print_line(line(*how_far), error=True)

    return tell
