"""The one Temporal plugin: client, workers and replayer take it, so that no two of them can disagree.

It sets the data converter (pydantic, encryption, external storage), the sandbox's pass-throughs, the interceptors, and
whether messages are compressed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from temporalio.plugin import SimplePlugin
from temporalio.service import ConnectConfig, GrpcCompression, ServiceClient
from temporalio.worker import Interceptor, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from records.payloads import data_converter
from records.trace_context import TraceContextInterceptor
from records.workflow_runner import LeanSandboxRunner

if TYPE_CHECKING:
    from records.protection import Protection

__all__ = ["parley_plugin"]

# Importing these again for every run costs some 16 ms; all of them only define things.
_VOCABULARY = (
    "dialogue",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "workflows.names",
)
# A copy of our own workflow code for each run costs 7 ms and 250 KiB a conversation, against 14 KiB (two shared cores).
# It holds no state of its own, import-linter keeps clock and chance out of it, and the tests run it strictly.
_WORKFLOWS = "workflows"


def _runner(runner: WorkflowRunner | None, *, strict: bool) -> WorkflowRunner:
    """The worker's own sandbox with what may be shared between runs; a runner of another kind as it is."""
    runner = runner or SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    shared = _VOCABULARY if strict else (*_VOCABULARY, _WORKFLOWS)
    restrictions = runner.restrictions.with_passthrough_modules(*shared)
    return LeanSandboxRunner(restrictions=restrictions, runner_class=runner.runner_class)


class _SealedPlugin(SimplePlugin):
    """What is sealed does not shrink: the SDK's gzip of every message only costs time, at both ends. With 64 KB of
    reasoning it was a tenth of a turn's CPU (median of 7 × 10 turns whose steps do nothing, two busy cores)."""

    async def connect_service_client(
        self,
        config: ConnectConfig,
        next: Callable[[ConnectConfig], Awaitable[ServiceClient]],  # noqa: A002 (the SDK's name)
    ) -> ServiceClient:
        config.grpc_compression = GrpcCompression.NONE
        return await super().connect_service_client(config, next)


def parley_plugin(
    *, interceptors: tuple[Interceptor, ...] = (), strict: bool = False, protection: Protection | None = None
) -> SimplePlugin:
    """The plugin for one process. Give its own interceptors; the rest is the same everywhere.

    ``protection``: from :func:`records.protection.open_protection`; without it payloads are written in clear, and no
    sealed one can be read.

    ``strict``: each run imports the workflow code anew, so that the sandbox refuses a call of the clock or of chance in
    it. For tests and for looking for what broke a replay; both forms make the same commands.
    """
    kind = _SealedPlugin if protection else SimplePlugin
    return kind(
        "parley",
        data_converter=protection.data_converter if protection else data_converter,
        workflow_runner=partial(_runner, strict=strict),
        # first, so that what the others log belongs to the caller's trace
        interceptors=[TraceContextInterceptor(), *interceptors],
    )
