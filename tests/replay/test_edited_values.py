"""Values of a history that somebody edited by hand: each is one line, and the rest of the turn is shown."""

from __future__ import annotations

import base64
import json
import logging
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


def _of_a_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "temporal.yaml").write_text("data: var\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(folder / "temporal.yaml"))


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
    _of_a_site(tmp_path, monkeypatch)
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


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_verify_names_the_event_of_an_edited_value(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    name: str,
    change: Any,
    said: str,
) -> None:
    """It cannot be checked, and no stack trace says so; an argument is held against today's and differs."""
    _of_a_site(tmp_path, monkeypatch)
    path = spoiled(tmp_path, name, change)
    alone = ["--run", document(name)["events"][0][STARTED]["originalExecutionRunId"]]
    with caplog.at_level(logging.WARNING, "temporalio"):
        code = run(["replay", "verify", "--file", str(path), *alone, "--json"])
    assert [record for record in caplog.records if record.name.startswith("temporalio")] == []
    out, err = capsys.readouterr()
    (exact,) = json.loads(out)["history_exact"]
    if name == "feedback":
        assert (code, exact["divergence"]["event"], exact["divergence"]["field"]) == (3, 49, "score")
    else:
        assert (code, exact["state"], exact["divergence"]) == (4, "unchecked", None)
        assert exact["why"].startswith(f"{path}: event ")
        assert said in exact["why"]
    assert err == ""


def test_scan_names_the_event_of_each_edited_value(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As verify does, and no stack trace stands between."""
    _of_a_site(tmp_path, monkeypatch)
    for number, (name, change, _) in enumerate(CASES):
        (tmp_path / str(number)).mkdir()
        spoiled(tmp_path / str(number), name, change)
    folders = [str(tmp_path / str(number)) for number in range(len(CASES))]
    with caplog.at_level(logging.WARNING, "temporalio"):
        assert run(["replay", "scan", *folders, "--jobs", "1", "--json"]) == 3
    assert [record for record in caplog.records if record.name.startswith("temporalio")] == []
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == len(CASES)
    for exact, (name, _, said) in zip(results, CASES, strict=True):
        assert exact["divergence"]["event"] == 49 if name == "feedback" else said in exact["why"]


async def test_no_value_that_a_server_recorded_is_refused() -> None:
    """Not even of a start that the workflow itself refused."""
    chains = await from_files(history_files([HISTORIES]), data_converter)
    assert [problem for chain in chains for problem in tell(chain).problems] == []
