"""Temporal's Replayer with the site's plugin and a look at every command. Imports no more than it needs: it also runs
beside the packages of another version (:mod:`replay.other_code`)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.plugin import SimplePlugin
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.worker import Replayer

from records.payloads import data_converter
from records.plugin import parley_plugin
from replay.commands import CommandCheck
from replay.watching import watching_plugin
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow

__all__ = ["quiet_logs", "quiet_runtime", "replayed"]


async def replayed(
    workflow_id: str, events: Sequence[HistoryEvent], told: Callable[[float], None] | None = None
) -> tuple[str, CommandCheck]:
    """What the Replayer says where the commands are others, else nothing; and what the commands brought. ``events``
    are decoded; ``told`` as :class:`CommandCheck` has it."""
    check = CommandCheck(events, told)
    if len(events) < 2:  # it waits for its first task, and so would the Replayer, for ever
        return "", check
    plugins: list[SimplePlugin] = [parley_plugin(), _decoded_already(), watching_plugin(check.take)]
    replayer = Replayer(workflows=[ConversationWorkflow, DialogueWorkflow], plugins=plugins, runtime=quiet_runtime())
    history = WorkflowHistory(workflow_id, events)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return " ".join(str(result.replay_failure or "").split()), check


def quiet_logs() -> None:
    """What fails in a replay or a rerun is told in one line; the SDK's workers would add its stack."""
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)


@functools.cache
def quiet_runtime() -> Runtime:
    """A difference, or a fault of a rerun, is a result here, and not a warning of Temporal's core."""
    silent = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=silent)))


def _decoded_already() -> SimplePlugin:
    """The events were decoded as they were read, so nothing decodes them again."""
    return SimplePlugin("decoded", data_converter=data_converter)
