"""The lean sandbox gives every payload the context that the SDK's own would give it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.converter import SerializationContext
from temporalio.worker import Replayer, WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from records.payloads import data_converter
from records.workflow_runner import LeanInstance, LeanSandboxRunner
from tests.support.record_histories import FOLDER
from workflows.conversation_workflow import ConversationWorkflow

Asked = list[tuple[SerializationContext | None, SerializationContext | None]]


class Compared(LeanInstance):
    """Asks the SDK's own instance as well."""

    def __init__(self, instance: WorkflowInstance, asked: Asked) -> None:
        super().__init__(instance)
        self.sdk, self.asked = instance, asked

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        context = super().get_serialization_context(command_info)
        self.asked.append((context, self.sdk.get_serialization_context(command_info)))
        return context


@pytest.mark.parametrize("shape", ["normal", "rung-repetition", "human-resolved", "cancelled", "continued-as-new.1"])
def test_contexts_are_those_of_the_sdk(shape: str) -> None:
    """For the workflow's own payloads and for each activity's, when it is scheduled and when its result comes."""
    asked: Asked = []

    @dataclass(frozen=True)
    class Comparing(LeanSandboxRunner):
        def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
            return Compared(SandboxedWorkflowRunner.create_instance(self, det), asked)

    history = WorkflowHistory.from_json(shape, json.loads(Path(FOLDER / f"{shape}.json").read_text()))
    restrictions = SandboxedWorkflowRunner().restrictions.with_passthrough_modules("dialogue", "pydantic")
    runner = Comparing(restrictions=restrictions)
    replayer = Replayer(workflows=[ConversationWorkflow], workflow_runner=runner, data_converter=data_converter)
    result = asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False))
    assert result.replay_failure is None
    assert {type(ours).__name__ for ours, _ in asked} >= {
        "WorkflowSerializationContext",
        "ActivitySerializationContext",
    }
    assert [ours for ours, _ in asked] == [theirs for _, theirs in asked]
