"""Log lines: structlog, JSON for programs and colours for a terminal, on standard error.

Lines carry conversation, turn, step, workflow id and trace id. They never carry a user's text unless its tenant allows
that (``tenants.<name>.log_texts``): so of an exception that nobody foresaw only its type is told, and where it was, and
libraries write no debug lines (Temporal's hold payloads, SQLite's the values of a statement).
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator

import structlog

from settings.schema import LogSettings

__all__ = ["configure_logs"]

_OURS = ("dialogue.", "temporalio.")
"""Whose exceptions say what they have to say without a user's words."""
_OWN = (
    *("activities", "cli", "gateway", "intents", "knowledge_base", "model_runtime"),
    *("policy", "records", "replay", "settings", "workers", "workflows"),
)
"""Whose loggers are set to ``log.level``; all others to info at least."""
_TEMPORAL = {
    "temporal_workflow": {"workflow_id": "workflow_id", "run_id": "run_id"},
    "temporal_activity": {"workflow_id": "workflow_id", "activity_type": "step", "attempt": "attempt"},
}
"""What the SDK's loggers put beside a line, and what it is called in ours."""
_CORE = {"temporalio_client::retry": ("error",)}
"""The fields of a line of the SDK's core that are told, by where it comes from: the others may quote a failure."""
_CONVERSATIONS = ("ConversationWorkflow", "DialogueWorkflow")
"""Of these a workflow's id is its conversation."""
_QUOTING = {
    "asyncio": re.compile(r"\n|\((?!\))|<"),
    "_granian": re.compile(r"\n"),
    "py": re.compile(r"\n"),  # py.warnings: Python's own, each with the line of code that it is about
}
"""Whose lines show exceptions with their messages, and where in a line that begins: behind the first one, and with
asyncio, which shows a callback's arguments and a task with its exception, at a bracket too."""
_QUIET = ("httpx", "httpcore", "sentence_transformers", "transformers", "bm25s", "faiss", "asyncio")


def configure_logs(settings: LogSettings, **bound: str) -> None:
    """Sets up this process's log; ``bound`` (pool, process) stands on every line."""
    level = getattr(logging, settings.level.upper())
    pretty = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.types.Processor] = [
        # not by the context, which threads of libraries have none of
        lambda _logger, _name, event: {**bound, **event},
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.types.Processor] = (
        [_exceptions, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [_exceptions, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    # Temporal and the libraries log through the standard library: the same lines, the same place.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _of_temporal, _of_core, _without_quotes],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    for name in _OWN:
        logging.getLogger(name).setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _of_temporal(_logger: object, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """A line of a workflow, or of the SDK about an activity, says whose it is by the names that our steps use."""
    for given, names in _TEMPORAL.items():
        details = getattr(event.get("_record"), given, None) or {}
        for theirs, ours in names.items():
            if theirs in details:
                event.setdefault(ours, details[theirs])
        if details:
            event["event"] = str(event["event"]).removesuffix(f" ({details})")
            if details.get("workflow_type") in _CONVERSATIONS:
                event.setdefault("conversation", details["workflow_id"])
    return event


def _of_core(_logger: object, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Why the server cannot be reached, and which run it is about."""
    core = getattr(event.get("_record"), "temporal_log", None)
    if core is not None:
        fields, told = core.fields, ("run_id", "workflow_id", "task_queue", *_CORE.get(core.target, ()))
        event.update({name: fields[name] for name in told if name in fields})
    return event


def _without_quotes(_logger: object, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """What happened, and not what was shown of it; the exception itself, where the line brings it, is told as ours."""
    quoted = _QUOTING.get(event["logger"].partition(".")[0])
    if quoted is not None:
        event["event"] = quoted.split(str(event["event"]), maxsplit=1)[0].rstrip()
    return event


def _exceptions(_logger: object, _name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Puts an exception's types and frames in its place; others' messages may quote a text and are left out."""
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_told(error))
    return event


def _told(error: BaseException) -> Iterator[str]:
    """The chain of causes, the first one first, as Python prints it."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _told(cause)
    yield from (
        f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    )
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    safe = isinstance(error, OSError) or kind.startswith(_OURS)
    yield f"{kind}: {error}" if safe and str(error) else kind
