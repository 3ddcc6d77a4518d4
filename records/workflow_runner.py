"""Temporal's workflow sandbox, not entered to ask what is known outside of it.

Before and after each activation the SDK visits every payload three times (references, external storage, codec) and
asks the workflow each time whose payload it is. A sandboxed workflow answers by compiling and running a line inside
its sandbox: 39% of a worker's Python time in a turn whose steps do nothing (py-spy, temporalio 1.35). The commands
themselves say it, so their contexts are made from them; whatever else is asked goes to the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporalio.api.enums.v1 import CommandType
from temporalio.converter import (
    ActivitySerializationContext,
    SerializationContext,
    StorageDriverStoreContext,
    WorkflowSerializationContext,
)
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

if TYPE_CHECKING:
    from temporalio.bridge.proto.workflow_activation import WorkflowActivation
    from temporalio.bridge.proto.workflow_commands import WorkflowCommand
    from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
    from temporalio.workflow import Info

__all__ = ["LeanSandboxRunner"]

_SCHEDULED = CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
_KEPT = 64
_NOWHERE = StorageDriverStoreContext()


@dataclass(frozen=True)
class LeanSandboxRunner(SandboxedWorkflowRunner):
    """The SDK's sandbox with the same restrictions."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return LeanInstance(super().create_instance(det))


class LeanInstance(WorkflowInstance):
    """One run. Activities are remembered by their number, which a run uses once, until their result is decoded."""

    def __init__(self, instance: WorkflowInstance) -> None:
        info = instance.get_info()
        self._instance = instance
        self._own = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)
        self._activities: dict[int, ActivitySerializationContext] = {}

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = self._instance.activate(act)
        self._remember(completion.successful.commands)
        return completion

    def _remember(self, commands: Iterable[WorkflowCommand]) -> None:
        info = self._instance.get_info()
        for command in commands:
            if command.HasField("schedule_activity"):
                scheduled = command.schedule_activity
                named = scheduled.activity_id != str(scheduled.seq)  # by us, and not by the SDK
                self._activities[scheduled.seq] = ActivitySerializationContext(
                    namespace=info.namespace,
                    workflow_id=info.workflow_id,
                    workflow_type=info.workflow_type,
                    activity_type=scheduled.activity_type,
                    activity_id=scheduled.activity_id if named else None,
                    activity_task_queue=scheduled.task_queue,
                    is_local=False,
                )
        while len(self._activities) > _KEPT:  # the sandbox still knows those forgotten here
            del self._activities[next(iter(self._activities))]

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        """``command_info`` None asks for the workflow's own payloads."""
        if command_info is None:
            return self._own
        if command_info.command_type == _SCHEDULED and command_info.command_seq in self._activities:
            return self._activities[command_info.command_seq]
        return self._instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        """Only a driver of external storage reads it; ours name payloads by their digest alone."""
        return _NOWHERE

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()
