"""How a command ends: a fault is one clear line and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

__all__ = ["FAILED", "INTERRUPTED", "UNUSABLE", "code_of", "end", "line_of"]

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def line_of(error: BaseException) -> str | None:
    """What people are told of this error; ``None`` when it is one of ours to mend, with its traceback."""
    from cyclopts import CycloptsError
    from pydantic import ValidationError

    from dialogue.faults import ParleyFault

    if isinstance(error, ParleyFault):
        return error.message
    if isinstance(error, CycloptsError):
        return " ".join(str(error).split())
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or error.title}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
    if isinstance(error, ConnectionError | PermissionError | FileNotFoundError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return (
            f"{error.filename or 'data'}: {error.strerror}. Make room on its disk; `parley doctor` shows what is left."
        )
    return None


def code_of(error: BaseException) -> int:
    """2 for what the caller gave (arguments, settings, files), 130 for Ctrl-C, 1 for the rest."""
    from cyclopts import CycloptsError
    from pydantic import ValidationError

    from dialogue.faults import BadInput, DocumentUnreadable, IntentsFault, PolicyFault, SettingsFault

    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    given = (BadInput, SettingsFault, IntentsFault, PolicyFault, DocumentUnreadable, CycloptsError, ValidationError)
    return UNUSABLE if isinstance(error, given) else FAILED


def end(code: int) -> NoReturn:
    """Ends the process at once, all output written.

    Threads of Temporal's native core outlive the event loop and crash now and then while the interpreter is taken
    down (https://github.com/temporalio/sdk-python/issues/300), so it is not taken down.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader of our output is gone already
            code = code or FAILED
    os._exit(code)
