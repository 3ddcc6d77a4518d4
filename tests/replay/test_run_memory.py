"""What a run remembered before each of its turns: what the workflow itself did, in odd cases too."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from records.payloads import data_converter
from replay.histories import from_files
from replay.story import tell, turn_of
from replay.turns import Story
from tests.replay.made import completion_of, edited_result, recorded, spoiled

COMPLETED = "activityTaskCompletedEventAttributes"


async def _told(*paths: Path) -> Story:
    (found,) = await from_files(list(paths), data_converter)
    return tell(found)


async def test_a_reply_that_is_nowhere_any_more_costs_no_memory(tmp_path: Path) -> None:
    """A message was sent again whose reply the run does not hold and whose audit row is gone: the audit tells nothing
    of that turn, and what the run carried stays."""
    (later,) = recorded("continued-as-new.2")
    whole = turn_of(await _told(later), 3).before
    gone = turn_of(await _told(spoiled(tmp_path, later.stem, edited_result("recall_conversation", dict.clear))), 3)
    assert gone.before == whole
    assert [message.content for message in whole[::2]] == ["How long?", "And in a shop?"]


def _unreturned(events: list[Any]) -> None:
    """The first turn's last step fails for good, and the workflow answers as it does then."""
    done = completion_of("return_answer", events)
    at = next(event for event in events if event.get(COMPLETED) is done)
    same = ("scheduledEventId", "startedEventId", "identity")
    failed = {name: value for name, value in at.pop(COMPLETED).items() if name in same}
    failure = {
        "message": "the row is gone",
        "applicationFailureInfo": {"type": "records-damaged", "nonRetryable": True},
    }
    at["eventType"] = "EVENT_TYPE_ACTIVITY_TASK_FAILED"
    at["activityTaskFailedEventAttributes"] = {**failed, "failure": failure}
    updates = (event.get("workflowExecutionUpdateCompletedEventAttributes") for event in events)
    (payload,) = next(each for each in updates if each)["outcome"]["success"]["payloads"]
    reply = json.loads(base64.b64decode(payload["data"]))
    reply |= {
        "verdict": "failed",
        "answer": "",
        "citations": [],
        "note": "return_answer: records-damaged: the row is gone",
    }
    payload["data"] = base64.b64encode(json.dumps(reply).encode()).decode()


async def test_an_answer_that_was_not_returned_is_no_answer(tmp_path: Path) -> None:
    """The turn failed, whatever its last step was to return; and no later turn's model is shown it."""
    told = await _told(spoiled(tmp_path, "normal", _unreturned))
    first = turn_of(told, 1)
    assert (first.state, first.verdict, first.answer) == ("done", "failed", "")
    assert first.note == "return_answer: records-damaged: the row is gone"
    assert turn_of(told, 2).before == ()
