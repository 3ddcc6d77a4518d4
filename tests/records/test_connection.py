"""A client waits for a server that is still starting, and says in one line what is missing."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.testing import WorkflowEnvironment

from records.connection import connect
from settings.ports import free_port
from settings.schema import TemporalSettings


@pytest.mark.parametrize("seconds", [0, 0.3])
async def test_no_server_is_told_with_the_way_out(seconds: float) -> None:
    """At once, or when the time is over."""
    settings = TemporalSettings(address=f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=r"no Temporal server answers at .*Start one with `parley up`"):
        await connect(settings, wait_seconds=seconds)


async def test_a_namespace_that_never_comes_is_told_with_the_way_out(temporal: WorkflowEnvironment) -> None:
    """By whoever waits for a server; one who does not wait asks no more than before."""
    address = temporal.client.service_client.config.target_host
    settings = TemporalSettings(address=address, namespace="never")
    with pytest.raises(ConnectionError, match=r"has no never\. Make it with `temporal operator namespace create"):
        await connect(settings, wait_seconds=0.3)
    assert (await connect(settings)).namespace == "never"


async def test_a_namespace_that_is_still_made_is_waited_for(temporal: WorkflowEnvironment) -> None:
    """A worker that starts beside its server comes before the server knows the namespace."""
    address = temporal.client.service_client.config.target_host
    name = f"late-{uuid4().hex[:8]}"
    waiting = asyncio.create_task(connect(TemporalSettings(address=address, namespace=name), wait_seconds=60))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    kept = Duration(seconds=86_400)
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=kept)
    await temporal.client.workflow_service.register_namespace(request)
    assert (await waiting).namespace == name
