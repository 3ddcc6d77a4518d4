"""Small readings of Temporal's history events that the SDK has no names for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

__all__ = [
    "UNREADABLE",
    "attributes",
    "details_of",
    "failure_line",
    "first_value",
    "is_consistent",
    "is_known",
    "kind",
    "payloads_of",
    "seconds",
    "value_of",
]

UNREADABLE = "‹cannot be decoded›"
"""Stands where a payload could not be decoded."""

_NAMES = {number: name.removeprefix("EVENT_TYPE_") for name, number in EventType.items()}


def kind(event: HistoryEvent) -> str:
    """``ACTIVITY_TASK_SCHEDULED``."""
    return _NAMES.get(event.event_type, str(event.event_type))


def attributes(event: HistoryEvent) -> Any:
    """What an event of its kind holds: empty where it was left out, or is another kind's (:func:`is_consistent`)."""
    return getattr(event, _field_of(event), HistoryEvent())


def _field_of(event: HistoryEvent) -> str:
    """Where an event of its kind holds what it does."""
    return f"{kind(event).lower()}_event_attributes"


def is_known(event: HistoryEvent) -> bool:
    """Whether its kind, or at least what it holds, says something to this version."""
    return event.WhichOneof("attributes") is not None or _field_of(event) in HistoryEvent.DESCRIPTOR.fields_by_name


def is_consistent(event: HistoryEvent) -> bool:
    """Whether it holds what an event of its kind does."""
    return event.WhichOneof("attributes") == _field_of(event)


def seconds(time: Timestamp) -> float:
    """Since the epoch."""
    return time.seconds + time.nanos / 1e9


def payloads_of(message: Message) -> Iterator[Payload]:
    """Every payload in it, in the order of its fields; each can be changed in place."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if isinstance(value, Message):
            yield from payloads_of(value)
            continue
        for each in value.values() if hasattr(value, "values") else value:  # of a map; of a list
            if isinstance(each, Message):
                yield from payloads_of(each)


def value_of(payload: Payload) -> Any:
    """The JSON value of a decoded payload; ``None`` of an empty one, :data:`UNREADABLE` where it is no JSON, or is
    nested too deeply."""
    if payload.metadata.get("encoding") in (b"binary/null", None):
        return None
    try:
        return json.loads(payload.data)
    except (ValueError, RecursionError):
        return UNREADABLE


def first_value(payloads: Any) -> Any:
    """The value of the first of a ``Payloads``."""
    return value_of(payloads.payloads[0]) if payloads.payloads else None


def details_of(failure: Failure) -> Any:
    """What an activity told beside the message of its failure, or in its last heartbeat where it ended in time no more:
    the outermost of the causes that has any; else ``None``."""
    while True:
        timeout, application = failure.timeout_failure_info, failure.application_failure_info
        held = timeout.last_heartbeat_details if failure.HasField("timeout_failure_info") else application.details
        if held.payloads or not failure.HasField("cause"):
            return first_value(held)
        failure = failure.cause


def failure_line(failure: Failure) -> str:
    """``records-unavailable: the database is away``: the innermost cause that has a name, without stacks."""
    while failure.HasField("cause") and not failure.HasField("application_failure_info"):
        failure = failure.cause
    message = failure.message
    if failure.HasField("encoded_attributes"):  # an encrypted failure keeps its words apart
        inside = value_of(failure.encoded_attributes)
        message = inside.get("message", message) if isinstance(inside, dict) else UNREADABLE
    if failure.HasField("application_failure_info"):
        return f"{failure.application_failure_info.type}: {message}"
    if failure.HasField("timeout_failure_info"):
        return f"no answer in time: {message}" if message else "no answer in time"
    if failure.HasField("canceled_failure_info"):
        return "cancelled"
    return message
