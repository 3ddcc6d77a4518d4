"""Payloads no caller should send, and calls that send them as they are: nothing is checked on the way."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage as Stage
from temporalio.api.failure.v1 import Failure
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import Input, Meta, Request, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    QueryWorkflowRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)
from temporalio.client import Client

__all__ = ["MALFORMED", "RawCalls", "json_payload", "several"]


def json_payload(value: Any) -> Payload:
    """``value`` as ``json/plain``; bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def _encoded(encoding: bytes, data: bytes, **metadata: bytes) -> Payload:
    return Payload(metadata={"encoding": encoding, **metadata}, data=data)


_PROTOBUF = WorkflowExecution(workflow_id="w", run_id="r")

MALFORMED: dict[str, Payload] = {
    "null": _encoded(b"binary/null", b""),
    "JSON null": json_payload(None),
    "a list": json_payload(["text"]),
    "a text": json_payload("text"),
    "a number": json_payload(17),
    "true": json_payload(True),
    "nothing": Payload(),
    "no data": json_payload(b""),
    "no encoding": Payload(data=b"{}"),
    "half a JSON object": json_payload(b'{"text": "ha'),
    "two JSON objects": json_payload(b"{}{}"),
    "no UTF-8": json_payload(b'{"text": "\xff\xfe"}'),
    "a JSON object in UTF-16": json_payload('{"turn": 1}'.encode("utf-16")),
    "binary/plain": _encoded(b"binary/plain", b"\x00\x01\x02"),
    "another codec's": _encoded(b"binary/encrypted", b"\x8f" * 64, **{"encryption-key-id": b"theirs"}),
    "compressed": _encoded(b"binary/zlib", b"\x78\x9c\x03\x00"),
    "an unknown encoding": _encoded(b"text/yaml", b"turn: 1"),
    "an encoding that is no text": _encoded(b"\xff\xfe", b"{}"),
    "protobuf": _encoded(
        b"binary/protobuf", _PROTOBUF.SerializeToString(), messageType=_PROTOBUF.DESCRIPTOR.full_name.encode()
    ),
    "protobuf as JSON": _encoded(b"json/protobuf", b"{}", messageType=_PROTOBUF.DESCRIPTOR.full_name.encode()),
    "protobuf of an unknown type": _encoded(b"json/protobuf", b"{}", messageType=b"acme.Unknown"),
    "lists within lists": json_payload(b"[" * 50_000 + b"]" * 50_000),
    "objects within objects": json_payload(b'{"turn":' * 50_000 + b"1" + b"}" * 50_000),
    "an unknown field": json_payload({"turn": 1, "colour": "red"}),
    "an unknown field with a long name": json_payload({"x" * 500_000: 1}),
    "100,000 unknown fields": json_payload({f"{number}": 1 for number in range(100_000)}),
    "a tenant that is no name": json_payload({"tenant": "a b\n"}),
    "half a surrogate pair": json_payload(b'{"tenant": "\\ud800"}'),
    "NUL": json_payload(b'{"tenant": "a\\u0000b"}'),
    "NaN": json_payload(b'{"turn": NaN, "tenant": NaN}'),
    "Infinity": json_payload(b'{"turn": Infinity, "tenant": -Infinity}'),
    "a number beyond floats": json_payload(b'{"turn": 1e999, "tenant": 1e999}'),
    "an integer of 1,000 digits": json_payload(b'{"turn": 1' + b"0" * 999 + b', "tenant": 1' + b"0" * 999 + b"}"),
    "an integer of 5,000 digits": json_payload(b'{"turn": 1' + b"0" * 4999 + b', "tenant": 1' + b"0" * 4999 + b"}"),
    "1.9 MB of a field": json_payload({"tenant": "x" * 1_900_000}),
    "1.9 MB of digits": json_payload(b'{"turn": ' + b"9" * 1_900_000 + b"}"),
    "1.9 MB of list": json_payload(b"[" + b"1," * 949_000 + b"1]"),
}
"""By what is wrong with it. No message takes any of them."""


def several(good: Payload) -> dict[str, list[Payload]]:
    """Several arguments, where every message takes one."""
    encrypted = MALFORMED["another codec's"]
    return {
        "itself and null": [good, MALFORMED["null"]],
        "itself twice": [good, good],
        "itself and what cannot be read": [good, encrypted],
        "two that cannot be read": [encrypted, MALFORMED["half a JSON object"]],
        "a hundred": [good] * 100,
    }


@dataclass
class RawCalls:
    """Starts, updates, signals and queries with payloads as they are."""

    client: Client
    queue: str

    async def start(self, workflow: str, workflow_id: str, *payloads: Payload) -> str:
        """Gives the run's id."""
        request = StartWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=workflow),
            task_queue=TaskQueue(name=self.queue),
            input=Payloads(payloads=payloads),
            request_id=uuid.uuid4().hex,
            identity="foreign",
        )
        return (await self.client.workflow_service.start_workflow_execution(request)).run_id

    async def update(self, workflow_id: str, name: str, *payloads: Payload, id_: str = "") -> Failure | Payloads:
        """How the update ended: its failure or its result."""
        request = UpdateWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            wait_policy=WaitPolicy(lifecycle_stage=Stage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED),
            request=Request(
                meta=Meta(update_id=id_ or uuid.uuid4().hex, identity="foreign"),
                input=Input(name=name, args=Payloads(payloads=payloads)),
            ),
        )
        outcome = (await self.client.workflow_service.update_workflow_execution(request)).outcome
        return outcome.failure if outcome.HasField("failure") else outcome.success

    async def signal(self, workflow_id: str, name: str, *payloads: Payload) -> None:
        request = SignalWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            input=Payloads(payloads=payloads),
            request_id=uuid.uuid4().hex,
            identity="foreign",
        )
        await self.client.workflow_service.signal_workflow_execution(request)

    async def query(self, workflow_id: str, name: str, *payloads: Payload) -> Payloads:
        """Raises RPCError with the reason."""
        request = QueryWorkflowRequest(
            namespace=self.client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id),
            query=WorkflowQuery(query_type=name, query_args=Payloads(payloads=payloads)),
        )
        return (await self.client.workflow_service.query_workflow(request)).query_result
