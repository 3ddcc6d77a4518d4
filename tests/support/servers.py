"""Real Temporal servers out of their wheels, on free ports."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.plugin import SimplePlugin
from temporalio.testing import WorkflowEnvironment

from records.plugin import parley_plugin
from workflows.names import INTENT, MODEL, SEARCH_ATTRIBUTES, SNAPSHOT, TENANT, VARIANT, VERDICT
from workflows.registration import _TYPES

__all__ = ["dev_server", "executable", "time_skipping_server"]

# Why these: `start-dev` looks for work 20 times a second and rounds timers up to a second.
DYNAMIC_CONFIG = (
    "--dynamic-config-value",
    "history.transferProcessorMaxPollRPS=5000",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="10ms"',
)


def executable(name: str) -> str:
    """A program that a wheel put beside this Python, or that stands on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither beside {sys.executable} nor on PATH; run `make install`")
    return found


async def dev_server() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable("temporal"),
        dev_server_extra_args=list(DYNAMIC_CONFIG),
        search_attributes=(TENANT, INTENT, VARIANT, VERDICT, MODEL, SNAPSHOT),
        plugins=[parley_plugin()],
    )


async def time_skipping_server(plugin: SimplePlugin) -> WorkflowEnvironment:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=executable("temporal-test-server"), plugins=[plugin]
    )
    types = {name: _TYPES[type_] for name, type_ in SEARCH_ATTRIBUTES.items()}
    request = AddSearchAttributesRequest(namespace=environment.client.namespace, search_attributes=types)
    await environment.client.operator_service.add_search_attributes(request)
    return environment
