"""Looks at what workflow code commands while a history is replayed.

The SDK's Replayer holds kind and place of each command against the history, and not what a command brings. Here the
commands are seen as the workflow makes them, before any codec, so that their contents can be compared too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

__all__ = ["watching_plugin"]

Watch = Callable[[WorkflowCommand], None]


def watching_plugin(watch: Watch) -> SimplePlugin:
    """Put it behind the plugin that sets the runner: ``watch`` gets each command, in order."""
    return SimplePlugin("watching", workflow_runner=lambda runner: _Runner(runner or SandboxedWorkflowRunner(), watch))


class _Runner(WorkflowRunner):
    def __init__(self, inner: WorkflowRunner, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Instance(self._inner.create_instance(det), self._watch)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        self._inner.set_worker_level_failure_exception_types(types)


class _Instance(WorkflowInstance):
    def __init__(self, inner: WorkflowInstance, watch: Watch) -> None:
        self._inner, self._watch = inner, watch

    def activate(self, act: Any) -> Any:
        completion = self._inner.activate(act)
        for command in completion.successful.commands:
            self._watch(command)
        return completion

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._inner.get_external_store_context(command_info)

    def get_info(self) -> Any:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()
