"""The one Temporal plugin: client, workers and replayer take it, so that no two of them can disagree.

It sets the data converter (pydantic), the sandbox's pass-throughs and the interceptors.
"""

from __future__ import annotations

import dataclasses

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

__all__ = ["parley_plugin"]

# Importing these again for every run costs some 16 ms; all of them only define things.
_PASSED_THROUGH = (
    "dialogue",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "workflows.names",
)


def _with_pass_throughs(runner: WorkflowRunner | None) -> WorkflowRunner:
    """The worker's own sandbox with what may be shared between runs; a runner of another kind as it is."""
    runner = runner or SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    restrictions = runner.restrictions.with_passthrough_modules(*_PASSED_THROUGH)
    return dataclasses.replace(runner, restrictions=restrictions)


def parley_plugin(*, interceptors: tuple[Interceptor, ...] = ()) -> SimplePlugin:
    """The plugin for one process. Give its own interceptors; the rest is the same everywhere."""
    return SimplePlugin(
        "parley",
        data_converter=pydantic_data_converter,
        workflow_runner=_with_pass_throughs,
        interceptors=list(interceptors),
    )
