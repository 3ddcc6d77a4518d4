"""A log line tells of an exception what it is and where it was, and nobody's words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from temporalio.exceptions import ApplicationError

from dialogue.faults import EngineLost
from settings.logs import _exceptions

MARKER = "what the user wrote"


def _told(error: Exception) -> str:
    try:
        raise error
    except Exception:
        return _exceptions(None, "", {"event": "it failed", "exc_info": True})["exception"]


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (ValueError(MARKER), "ValueError"),
        (UnicodeError(MARKER), "UnicodeError"),
        (EngineLost("the engine is gone"), "dialogue.faults.EngineLost: the engine is gone"),
        (ApplicationError("no room", type="x"), "temporalio.exceptions.ApplicationError: x: no room"),
        (FileNotFoundError(2, "No such file", "a.db"), "FileNotFoundError: [Errno 2] No such file: 'a.db'"),
    ],
)
def test_only_our_own_messages_are_told(error: Exception, last: str) -> None:
    """Those of a library may quote a text."""
    lines = _told(error).splitlines()
    assert lines[-1] == last
    assert f"{__file__}:" in lines[0]
    assert MARKER not in "\n".join(lines)


def test_the_chain_is_told_from_its_beginning() -> None:
    """As Python prints it, without the messages."""
    try:
        try:
            raise KeyError(MARKER)
        except KeyError as cause:
            raise EngineLost("gone") from cause
    except EngineLost as error:
        told = _told(error)
    assert told.index("KeyError") < told.index("EngineLost: gone")
    assert MARKER not in told


def _lines(code: str) -> list[dict[str, object]]:
    """What a process writes that logs as ``code`` does."""
    head = (
        "import logging, structlog\n"
        "from settings.logs import configure_logs\n"
        "from settings.schema import LogSettings\n"
        "configure_logs(LogSettings(format='json', level='debug'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_debug_lines_are_ours_alone() -> None:
    """A library's quote values: Temporal's a step's result, SQLite's what is written."""
    lines = _lines(
        "structlog.get_logger('activities').debug('ours')\n"
        "logging.getLogger('model_runtime.engine_process').debug('ours too')\n"
        "for name in ('temporalio.worker._activity', 'aiosqlite', 'botocore.endpoint', 'new_library'):\n"
        "    logging.getLogger(name).debug('what the user wrote')\n"
        "    logging.getLogger(name).info('up')\n"
    )
    assert [line["event"] for line in lines] == ["ours", "ours too", *["up"] * 4]


def test_asyncio_shows_no_exception_of_a_task() -> None:
    """Of one that nobody awaited, nor where it is what a callback was called with: that it was, and where."""
    lines = _lines(
        "import asyncio\n"
        "async def fails():\n    raise ValueError('what the user ' + 'wrote')\n"
        "def heard(task):\n    raise KeyError('what the user ' + 'wrote')\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(fails())\n"
        "    task.add_done_callback(heard)\n"
        "    await asyncio.wait([task])\n"
        "asyncio.run(main())\n"
    )
    assert [line["event"] for line in lines] == ["Exception in callback heard", "Task exception was never retrieved"]
    assert [str(line["exception"]).splitlines()[-1] for line in lines] == ["KeyError", "ValueError"]
    assert MARKER not in str(lines)


def test_a_warning_of_python_is_one_line() -> None:
    """As JSON like every other, without the line of code that it is about."""
    (line,) = _lines("import warnings\nwarnings.warn('[TMPRL1102] it ended\\nwhat the user ' + 'wrote')\n")
    assert str(line["event"]).endswith("UserWarning: [TMPRL1102] it ended")
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


def test_a_line_of_a_workflow_says_whose_it_is() -> None:
    """By the names that our steps' lines have, and not in the middle of a sentence."""
    lines = _lines(
        "told = {'attempt': 1, 'run_id': 'r', 'workflow_id': 'conv-1', 'workflow_type': 'ConversationWorkflow'}\n"
        "logging.getLogger('temporalio.workflow').warning(\n"
        "    'feedback ignored (%s)', told, extra={'temporal_workflow': told})\n"
        "told = {'activity_type': 'review_answer', 'attempt': 2, 'workflow_id': 'other', 'workflow_type': 'Other'}\n"
        "logging.getLogger('temporalio.activity').warning(\n"
        "    'Completing as failed (%s)', told, extra={'temporal_activity': told})\n"
    )
    own = ("event", "workflow_id", "conversation", "step", "attempt")
    assert [tuple(line.get(name) for name in own) for line in lines] == [
        ("feedback ignored", "conv-1", "conv-1", None, None),
        ("Completing as failed", "other", None, "review_answer", 2),
    ]


def test_a_line_of_the_sdks_core_says_why_and_quotes_no_failure() -> None:
    """It comes from a thread of the core's own, and says all the same which process it is."""
    lines = _lines(
        "from threading import Thread\n"
        "from types import SimpleNamespace\n"
        "configure_logs(LogSettings(format='json'), process='gateway')\n"
        "def core(target, **fields):\n"
        "    told = {'temporal_log': SimpleNamespace(target=target, fields=fields)}\n"
        "    logging.getLogger('temporalio.core').warning('it fails', extra=told)\n"
        "def main():\n"
        "    core('temporalio_client::retry', error='Connection refused')\n"
        "    core('temporalio_sdk_core::worker', run_id='r', failure='what the user ' + 'wrote', error='it too')\n"
        "thread = Thread(target=main)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    own = ("process", "event", "run_id", "error", "failure")
    assert [tuple(line.get(name) for name in own) for line in lines] == [
        ("gateway", "it fails", None, "Connection refused", None),
        ("gateway", "it fails", "r", None, None),
    ]


@pytest.mark.parametrize("kind", ["json", "console"])
def test_every_logger_of_the_process_does_so(kind: str) -> None:
    """Ours, the standard library's, and those of libraries that log an exception of theirs."""
    code = (
        "import logging, structlog\n"
        "from settings.logs import configure_logs\n"
        "from settings.schema import LogSettings\n"
        f"configure_logs(LogSettings(format={kind!r}), pool='gpu')\n"
        "secret = 'what the user ' + 'wrote'\n"
        "try:\n    raise ValueError(secret)\n"
        "except ValueError:\n"
        "    structlog.get_logger('x').exception('ours')\n"
        "    logging.getLogger('y').exception('theirs')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert MARKER not in ended.stderr
    assert ended.stderr.count("ValueError") == 2
    if kind == "json":
        lines = [json.loads(line) for line in ended.stderr.splitlines()]
        assert [(line["event"], line["pool"]) for line in lines] == [("ours", "gpu"), ("theirs", "gpu")]
