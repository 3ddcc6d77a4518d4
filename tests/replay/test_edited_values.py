"""Values of a history that somebody edited by hand: each is one line, and the rest of the turn is shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from records.payloads import data_converter
from replay.histories import from_files, history_files
from replay.story import tell
from tests.replay.made import HISTORIES, document, edited_result, spoiled

STARTED = "workflowExecutionStartedEventAttributes"
ACCEPTED = "workflowExecutionUpdateAcceptedEventAttributes"
SCHEDULED = "activityTaskScheduledEventAttributes"


def _value(payload: Any, **fields: Any) -> None:
    value = json.loads(base64.b64decode(payload["data"]))
    payload["data"] = base64.b64encode(json.dumps({**value, **fields}).encode()).decode()


def _update(name: str, **fields: Any) -> Callable[[list[Any]], None]:
    """Edits what the first update of that name brought."""

    def edit(events: list[Any]) -> None:
        brought = (event[ACCEPTED]["acceptedRequest"]["input"] for event in events if ACCEPTED in event)
        _value(next(each for each in brought if each["name"] == name)["args"]["payloads"][0], **fields)

    return edit


def _feedback(events: list[Any]) -> None:
    given = (event[SCHEDULED] for event in events if SCHEDULED in event)
    _value(
        next(each for each in given if each["activityType"]["name"] == "keep_feedback")["input"]["payloads"][1],
        score="good",
    )


def _carried(events: list[Any]) -> None:
    (payload,) = events[0][STARTED]["input"]["payloads"]
    carried = json.loads(base64.b64decode(payload["data"]))["carried"]
    _value(payload, carried={**carried, "total": "many"})


CASES = [
    ("human-resolved", _update("resolve_review", turn="two"), "resolve_review cannot be read (turn: "),
    ("cancelled", _update("cancel_turn", turn="two"), "cancel_turn cannot be read (turn: "),
    ("feedback", _feedback, "the feedback cannot be read (score: "),
    ("normal", edited_result("receive_input", lambda v: v.update(findings=[7])), "the result of receive_input"),
    ("normal", edited_result("generate_answer", lambda v: v.update(attempts=["x"])), "the result of generate_answer"),
    ("continued-as-new.2", _carried, "its start cannot be read (carried.total: "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_an_edited_value_is_one_line_and_the_turn_is_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Any,
    said: str,
) -> None:
    """The line names the file, the event and the field; exit code 4, no traceback."""
    (tmp_path / "temporal.yaml").write_text("data: var\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(tmp_path / "temporal.yaml"))
    path = spoiled(tmp_path, name, change)
    started = document(name)["events"][0][STARTED]
    alone = ["--run", started["originalExecutionRunId"]]  # of a chain no other run is missed
    turn = ["--turn", "3" if name.startswith("continued") else "1"]
    assert run(["replay", "show", "--file", str(path), *alone, *turn]) == 4
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith(f"{path}: event ")
    assert said in line
    assert "receive_input 1.1" in out
    assert run(["replay", "show", "--file", str(path), *alone, *turn, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["turn"]["steps"]


async def test_no_value_that_a_server_recorded_is_refused() -> None:
    """Not even of a start that the workflow itself refused."""
    chains = await from_files(history_files([HISTORIES]), data_converter)
    assert [problem for chain in chains for problem in tell(chain).problems] == []
