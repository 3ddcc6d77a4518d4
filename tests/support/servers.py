"""Real Temporal servers out of their wheels, on free ports."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from temporalio.plugin import SimplePlugin
from temporalio.testing import WorkflowEnvironment

from cli.temporal_server import DYNAMIC_CONFIG
from records.plugin import parley_plugin
from workflows.names import SEARCH_ATTRIBUTE_KEYS, SEARCH_ATTRIBUTES
from workflows.registration import add_search_attributes

__all__ = ["dev_server", "executable", "time_skipping_server"]

# else a deletion waits for its queue's next checkpoint, half a minute
_DELETES_AT_ONCE = tuple(f"history.{each}ProcessorEnsureCloseBeforeDelete=false" for each in ("transfer", "visibility"))
DYNAMIC_CONFIG_ARGS = tuple(
    part for value in (*DYNAMIC_CONFIG, *_DELETES_AT_ONCE) for part in ("--dynamic-config-value", value)
)


def executable(name: str) -> str:
    """A program that a wheel put beside this Python, or that stands on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither beside {sys.executable} nor on PATH; run `make install`")
    return found


async def dev_server(*more: str, strict: bool = False) -> WorkflowEnvironment:
    """``more`` arguments go to the server. Workers of its client run workflow code as ours do; where it is ``strict``
    the sandbox refuses what a replay could not repeat, and each run costs its imports."""
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=executable("temporal"),
        dev_server_extra_args=[*DYNAMIC_CONFIG_ARGS, *more],
        search_attributes=SEARCH_ATTRIBUTE_KEYS,
        plugins=[parley_plugin(strict=strict)],
    )


async def time_skipping_server(plugin: SimplePlugin) -> WorkflowEnvironment:
    environment = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=executable("temporal-test-server"), plugins=[plugin]
    )
    await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
    return environment
