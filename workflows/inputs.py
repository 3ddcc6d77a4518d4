"""Reads raw payloads inside the workflow, so that a foreign client's nonsense fails that call alone.

An exception that is no ApplicationError fails the workflow *task*, which Temporal then tries again for ever. So what a
caller can send is never decoded by the SDK (the type RawValue), never bound to parameters by Python
(:func:`one_argument`), and what is answered is bounded: a reason of megabytes would be such an exception too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from dialogue.faults import InvalidRequest, MessageTooLong, ParleyFault
from dialogue.messages import MAX_MESSAGE_CHARACTERS, MAX_PAYLOAD_BYTES, MOST_MESSAGES
from workflows.wording import one_line

__all__ = ["NOTHING", "application_error", "ignored_signal", "one_argument", "parse"]

NOTHING = RawValue(Payload())
"""The argument of a call that brings none. (Only a plain ``RawValue`` is handed over undecoded.)"""
MOST_NAMED = 5
"""Wrong fields named in a reason; beyond, only their number is told."""
MOST_FIELDS = 100
"""Fields of an argument: several times what any message has."""
LONGEST_NAME = 60

Parsed = TypeVar("Parsed", bound=BaseModel)
Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Several(RawValue):
    """Stands for the arguments of a call that brings more than one."""

    count: int = 0


def application_error(fault: ParleyFault) -> ApplicationError:
    """The fault as Temporal carries it: its type, and never retried, because a workflow raised it."""
    return ApplicationError(fault.message, type=fault.type, non_retryable=True)


def one_argument(handler: Handler) -> Handler:
    """A method of one payload that can be called with any number of them: ``parse`` refuses all but one.

    The SDK binds a call's payloads to parameters inside the workflow task, and there a TypeError fails the task.
    """

    def only(arguments: Sequence[RawValue]) -> RawValue:
        if len(arguments) > 1:
            return _Several(Payload(), len(arguments))
        return arguments[0] if arguments else NOTHING

    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def waits(self: object, *arguments: RawValue) -> Any:
            return await handler(self, only(arguments))

        return cast("Handler", waits)

    @functools.wraps(handler)
    def returns(self: object, *arguments: RawValue) -> Any:
        return handler(self, only(arguments))

    return cast("Handler", returns)


def parse(raw: RawValue, kind: type[Parsed]) -> Parsed:
    """``raw`` as ``kind``. Raises an ApplicationError of type ``invalid-request`` that names each bad field, or of
    type ``message-too-long``; its reason is one line of some hundred characters, whatever was sent."""
    try:
        return kind.model_validate(_decoded(raw, kind.__name__))
    except ValidationError as error:
        raise application_error(_fault_of(error, kind.__name__)) from None
    except ParleyFault as fault:
        raise application_error(fault) from None


def _decoded(raw: RawValue, name: str) -> object:
    if isinstance(raw, _Several):
        raise InvalidRequest(f"{name}: is one argument, but {raw.count} were sent. Send one JSON object.")
    if raw is NOTHING:
        return {}
    size = len(raw.payload.data)
    if size > MAX_PAYLOAD_BYTES:
        raise MessageTooLong(f"{name}: has {size} bytes. Send at most {MAX_PAYLOAD_BYTES}.")
    try:
        value: object = workflow.payload_converter().from_payload(raw.payload, object)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise InvalidRequest(f"{name}: {why}. Send one JSON object.") from None
    except ParleyFault:  # the site's own refusal of it
        raise
    except Exception:
        encoding = raw.payload.metadata.get("encoding", b"").decode(errors="replace")[:LONGEST_NAME]
        raise InvalidRequest(f"{name}: its payload's encoding {encoding!r} cannot be read. Send json/plain.") from None
    _refuse_many(value, name)
    return value


def _refuse_many(value: object, name: str) -> None:
    """What has far too many fields or items is not looked through: a million errors take seconds to be made."""
    if not isinstance(value, dict):
        return
    fields = cast("dict[str, object]", value)
    if len(fields) > MOST_FIELDS:
        raise InvalidRequest(f"{name}: has {len(fields)} fields. It knows far fewer.")
    for field, items in fields.items():
        if isinstance(items, list) and (count := len(cast("list[object]", items))) > MOST_MESSAGES:
            raise InvalidRequest(one_line(f"{field[:LONGEST_NAME]}: has {count} items. Send at most {MOST_MESSAGES}."))


def _fault_of(error: ValidationError, name: str) -> InvalidRequest | MessageTooLong:
    count = error.error_count()
    if count > MOST_FIELDS:
        return InvalidRequest(f"{name}: {count} of its values are wrong. Send what the documentation says.")
    problems = error.errors(include_url=False, include_input=False)
    told = [f"{_place(problem) or name}: {problem['msg'][:200]}" for problem in problems[:MOST_NAMED]]
    if count > MOST_NAMED:
        told.append(f"and {count - MOST_NAMED} more")
    reason = one_line("; ".join(told))
    return MessageTooLong(reason) if all(_too_long(problem) for problem in problems) else InvalidRequest(reason)


def _place(problem: ErrorDetails) -> str:
    return ".".join(str(part)[:LONGEST_NAME] for part in problem["loc"])


def _too_long(problem: ErrorDetails) -> bool:
    most = problem.get("ctx", {}).get("max_length")
    return problem["type"] == "string_too_long" and most == MAX_MESSAGE_CHARACTERS


def ignored_signal(name: str) -> None:
    """A signal that nobody knows leaves a line in the log and nothing else."""
    workflow.logger.warning("signal ignored: no signal has the name %s", name[:LONGEST_NAME])
