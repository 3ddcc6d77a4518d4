"""Ctrl-C and SIGTERM as the ordinary end of a command that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

__all__ = ["until_told_to_stop"]


@contextlib.contextmanager
def until_told_to_stop() -> Iterator[None]:
    """The first signal cancels what is inside, which then stops in order; further ones do not hurry it.

    Leaves quietly after a signal. Enter it within the task that is to be cancelled.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told = False

    def stop() -> None:
        nonlocal told
        if task is not None and not told:
            told = True
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not told or task is None:
            raise
        task.uncancel()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
