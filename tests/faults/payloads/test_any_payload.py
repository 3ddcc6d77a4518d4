"""Whatever bytes and encodings arrive: a message is read or refused by name, and never anything else happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCStatusCode

from dialogue.messages import (
    MAX_PAYLOAD_BYTES,
    CancelTurn,
    ConversationStart,
    DialogueStart,
    Feedback,
    ResolveReview,
    Say,
    TenantOnly,
    TurnOnly,
)
from records.payloads import data_converter
from tests.faults.payloads.conftest import Scene
from tests.faults.payloads.nonsense import MALFORMED
from workflows.inputs import NOTHING, one_argument, parse

REFUSED = RPCStatusCode.INVALID_ARGUMENT
KINDS = (CancelTurn, ConversationStart, DialogueStart, Feedback, ResolveReview, Say, TenantOnly, TurnOnly)
FIELDS = sorted({name for kind in KINDS for name in kind.model_fields})

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["default", "m1", "approve", "edit", "user", "\0", "x" * 200, 10**400, 2**53 + 1, -1, 1])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6)
json_bytes = (objects | values).map(lambda value: json.dumps(value).encode())
cut = st.builds(lambda data, at: data[: at % (len(data) + 1)], json_bytes, st.integers(0, 200))
encodings = st.sampled_from(
    [
        b"json/plain",
        b"json/plain",
        b"binary/null",
        b"binary/plain",
        b"binary/encrypted",
        b"json/protobuf",
        b"binary/protobuf",
    ]
) | st.binary(max_size=12)
payloads = st.builds(
    lambda metadata, data: Payload(metadata=metadata, data=data),
    st.fixed_dictionaries(
        {}, optional={"encoding": encodings, "messageType": st.sampled_from([b"x", b"temporal.api.common.v1.Payload"])}
    )
    | st.just({"encoding": b"json/plain"}),
    json_bytes | cut | st.binary(max_size=40),
)


class Handler:
    """A handler as the workflows have them."""

    @one_argument
    def reads(self, raw: RawValue) -> RawValue:
        return raw


def _read(kind: type[BaseModel], arguments: Sequence[Payload]) -> BaseModel | ApplicationError:
    """As the SDK and a handler do it together: a wrong number of arguments is decoded without types."""
    decoded: Sequence[RawValue]
    if len(arguments) == 1:
        decoded = [RawValue(arguments[0])]
    else:
        decoded = data_converter.payload_converter.from_payloads(arguments)
    with mock.patch.object(workflow, "payload_converter", return_value=data_converter.payload_converter):
        try:
            return parse(Handler().reads(*decoded), kind)
        except ApplicationError as error:
            return error


@given(kind=st.sampled_from(KINDS), arguments=st.lists(payloads, max_size=3))
@example(kind=DialogueStart, arguments=[MALFORMED["1.9 MB of list"]])
@settings(max_examples=300)
def test_any_payload_is_read_or_refused(kind: type[BaseModel], arguments: list[Payload]) -> None:
    """The result is the message itself, or one line of a type that says whose fault it is."""
    found = _read(kind, arguments)
    if isinstance(found, ApplicationError):
        assert found.type in ("invalid-request", "message-too-long")
        assert found.non_retryable
        assert found.message.isprintable()
        assert 0 < len(found.message) < 2000
    else:
        assert isinstance(found, kind)
        assert len(arguments) < 2


@given(kind=st.sampled_from(KINDS), name=st.text(min_size=1), count=st.integers(1, 3000))
@settings(max_examples=100)
def test_a_reason_is_short_whatever_the_fields_are_called(kind: type[BaseModel], name: str, count: int) -> None:
    """It names a few of them, and tells how many there are."""
    fields = {f"{name}{number}" * (200 // count + 1): None for number in range(count)}
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(fields).encode("utf-8", "replace"))
    found = _read(kind, [payload])
    assert isinstance(found, ApplicationError)
    assert len(found.message) < 2000
    found.message.encode()


LARGEST = {
    "many wrong messages": b'{"messages": [' + b"1," * (MAX_PAYLOAD_BYTES // 2 - 20) + b"1]}",
    "many unknown fields": b"{" + b",".join(b'"%d":1' % number for number in range(120_000)) + b"}",
    "many unknown fields below": b'{"messages": [{'
    + b",".join(b'"%d":1' % number for number in range(120_000))
    + b"}]}",
    "many objects": b'{"messages": [' + b"{}," * (MAX_PAYLOAD_BYTES // 3 - 20) + b"{}]}",
    "a long text": b'{"text": "' + b"\\u0000" * (MAX_PAYLOAD_BYTES // 6 - 20) + b'"}',
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", LARGEST.values(), ids=LARGEST)
def test_the_largest_nonsense_is_refused_in_time(kind: type[BaseModel], data: bytes) -> None:
    """A workflow task that computes for two seconds counts as hung, and would be tried again for ever."""
    assert len(data) <= MAX_PAYLOAD_BYTES
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    started = time.process_time()
    found = _read(kind, [payload])
    assert time.process_time() - started < 1
    assert isinstance(found, ApplicationError)
    assert len(found.message) < 2000


def test_no_argument_is_an_empty_object() -> None:
    """So what has defaults alone may be called without any."""
    assert _read(TenantOnly, []) == TenantOnly()
    assert isinstance(_read(Say, []), ApplicationError)
    assert Handler().reads() is NOTHING


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_real_conversation_outlives_any_payload(scene: Scene, data: st.DataObject) -> None:
    """Each call ends within seconds, as a success or a named failure, and then a message is answered."""
    conversation = await scene.conversation()
    for _ in range(data.draw(st.integers(1, 4))):
        name = data.draw(st.sampled_from(["say", "cancel_turn", "resolve_review", "feedback", "transcript", "reply"]))
        sent = data.draw(st.lists(payloads, max_size=3))
        async with asyncio.timeout(20):
            if name == "feedback":
                await scene.raw.signal(conversation, name, *sent)
            elif name in ("transcript", "reply"):
                failures = await asyncio.gather(scene.raw.query(conversation, name, *sent), return_exceptions=True)
                assert all(getattr(each, "status", REFUSED) is REFUSED for each in failures)
            else:
                outcome = await scene.raw.update(conversation, name, *sent)
                if isinstance(outcome, Failure):
                    assert outcome.application_failure_info.type
    await scene.answers(conversation)
    await scene.assert_no_task_was_lost(conversation)
