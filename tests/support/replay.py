"""Replays recorded histories with the ``workflows`` that Python finds, and prints what failed as a JSON object.

    python -m tests.support.replay NAME …

In a process of its own it replays with a changed copy of them: see :mod:`tests.support.changed_workflows`.
"""

from __future__ import annotations

import asyncio
import json
import sys

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowRunner

from cli.ending import end
from records.plugin import parley_plugin
from tests.support.record_histories import FOLDER
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

__all__ = ["replay"]


def replay(name: str, runner: WorkflowRunner | None = None, *, strict: bool = True) -> Exception | None:
    """Why today's code does not make the commands of the history ``name``; in the sandbox unless ``runner`` is given,
    which takes the workflow code anew, or (not ``strict``) as workers share it.
    """
    history = WorkflowHistory.from_json(name, json.loads((FOLDER / f"{name}.json").read_text()))
    more = {} if runner is None else {"workflow_runner": runner}
    replayer = Replayer(
        workflows=[ConversationWorkflow, DialogueWorkflow], plugins=[parley_plugin(strict=strict)], **more
    )
    return asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure


if __name__ == "__main__":
    print(json.dumps({name: str(replay(name) or "") for name in sys.argv[1:]}))  # noqa: T201
    end(0)
