"""Ends process groups whose keeper died: ``python -I -S guard.py SECONDS``.

The keeper writes ``+GROUP`` and ``-GROUP`` lines to the guard's standard input as its children come and go. When
that input ends, whatever is left is told to stop (SIGTERM), and after SECONDS killed with all its descendants
(SIGKILL). It works however the keeper ended, by ``kill -9`` as well, and for children that know nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

__all__ = ["main"]

_LOOK_SECONDS = 0.05


def _signal(group: int, number: int) -> bool:
    """Whether that group still has members."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def main(seconds: float) -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    left = {group for group in groups if _signal(group, signal.SIGTERM)}
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


if __name__ == "__main__":
    # whoever ends the keeper from a terminal must not end the guard first
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    main(float(sys.argv[1]))
