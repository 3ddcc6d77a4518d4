"""Every recorded history is replayed by today's workflow code: the same commands in the same order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from records.plugin import parley_plugin
from tests.support.record_histories import FOLDER, SHAPES
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))


def test_there_is_a_history_of_every_shape() -> None:
    """None was lost, and none is left of a shape that is no longer recorded."""
    assert {path.name.split(".")[0] for path in HISTORIES} == set(SHAPES)


@pytest.mark.parametrize("strict", [False, True], ids=["as-served", "strict"])
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_replays(path: Path, strict: bool) -> None:
    """The workflow code of today makes the commands that were recorded."""
    history = WorkflowHistory.from_json(path.stem, json.loads(path.read_text()))
    replayer = Replayer(workflows=[ConversationWorkflow, DialogueWorkflow], plugins=[parley_plugin(strict=strict)])
    result = asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False))
    assert result.replay_failure is None, result.replay_failure
