"""Where histories come from, and what is said of those that are not as they were recorded."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from dialogue.faults import (
    HistoryBroken,
    HistoryFault,
    HistoryForeign,
    HistoryLocked,
    HistoryUnreadable,
    InvalidRequest,
)
from records.payloads import data_converter
from replay.chain import Chain
from replay.exact import history_exact
from replay.histories import from_file, from_files, history_files
from replay.story import tell
from tests.replay.made import HISTORIES, document, recorded, spoiled


async def test_every_recorded_history_is_whole_and_none_is_foreign() -> None:
    """The checks find nothing in what a server wrote."""
    chains = await from_files(history_files([HISTORIES]), data_converter)
    assert not [problem.message for chain in chains for problem in chain.problems]
    assert {len(chain.runs) for chain in chains} == {1, 2}


async def test_the_runs_of_a_conversation_are_one_chain() -> None:
    """Whatever the order of the files: by when they began, each naming the one before."""
    (chain,) = await from_files(recorded("continued-as-new.2", "continued-as-new.1"), data_converter)
    first, second = chain.runs
    assert first.next_run_id == second.run_id
    assert second.before_run_id == first.run_id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 column 1: it is not JSON"),
        ("event 1: it was good", "line 1 column 1: it is not JSON"),
        ("{}", "it is JSON, but holds no events"),
        ("[]", "it is JSON, but holds no events"),
        ('"events"', "it is JSON, but holds no events"),
        ('{"events": [{"eventType": "EVENT_TYPE_OF_ANOTHER_WORLD"}]}', "its event 1 cannot be read"),
        ('{"events": [1]}', "its event 1 cannot be read"),
        pytest.param("[" * 100_000, "it is nested too deeply to be read", id="deep"),
        pytest.param(f'{{"events": {"1" * 5000}}}', "a number in it has too many digits to be read", id="digits"),
    ],
)
async def test_what_is_no_history_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """The line names the file and how to export one."""
    path = tmp_path / "h.json"
    path.write_text(text)
    with pytest.raises(HistoryUnreadable, match="temporal workflow show") as refused:
        await from_file(path, data_converter)
    assert said in refused.value.message
    assert "\n" not in refused.value.message


async def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A packed or a wrong file."""
    path = tmp_path / "h.json"
    path.write_bytes(b"\x1f\x8b\x08\x00\xff\xff")
    with pytest.raises(HistoryUnreadable, match="it is no text"):
        await from_file(path, data_converter)


async def test_a_history_downloaded_decoded_is_told_how_to_be_downloaded(tmp_path: Path) -> None:
    """The Web UI's decoded download holds values where payloads were."""
    path = spoiled(tmp_path, "normal", lambda events: _first_input(events).update(payloads=[{"text": "How long?"}]))
    with pytest.raises(HistoryUnreadable, match="Decode Event History"):
        await from_file(path, data_converter)


def _first_input(events: list[Any]) -> dict[str, Any]:
    held = "activityTaskScheduledEventAttributes"
    return next(event[held]["input"] for event in events if held in event)


async def test_a_file_that_breaks_off_is_shown_up_to_there(tmp_path: Path) -> None:
    """The events before the cut tell what they can."""
    text = (HISTORIES / "normal.json").read_text()
    path = tmp_path / "h.json"
    path.write_text(text[: len(text) // 2])
    run = await from_file(path, data_converter)
    (problem,) = run.problems
    assert isinstance(problem, HistoryUnreadable)
    assert f"after {len(run.events)} whole events" in problem.message
    assert 20 < len(run.events) < len(document("normal")["events"])


def _set(path: str, value: Any) -> Callable[[list[Any]], None]:
    """In the event of that number, or in the first one that has such attributes."""

    def change(events: list[Any]) -> None:
        first, *names, last = path.split("/")
        place = events[int(first) - 1] if first.isdecimal() else next(each for each in events if first in each)[first]
        for name in names:
            place = place[int(name)] if name.isdecimal() else place[name]
        place[last] = value

    return change


def _swap(a: int, b: int) -> Callable[[list[Any]], None]:
    def change(events: list[Any]) -> None:
        events[a], events[b] = events[b], events[a]

    return change


def _drop(first: int, last: int) -> Callable[[list[Any]], None]:
    def change(events: list[Any]) -> None:
        del events[first - 1 : last]

    return change


DONE = "activityTaskCompletedEventAttributes"


def _swap_and_renumber(events: list[Any]) -> None:
    _swap(8, 14)(events)
    for number, event in enumerate(events, 1):
        event["eventId"] = str(number)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop(1, 3), "it begins with event 4"),
        (_drop(9, 9), "event 9 is missing"),
        (_drop(20, 25), "events 20 to 25 are missing"),
        (_swap(8, 11), "events 9 to 11 are missing"),
        (_swap_and_renumber, "they were exchanged"),
        (_set(f"{DONE}/scheduledEventId", "6"), "names event 6"),
        (_set("9/eventType", "EVENT_TYPE_ACTIVITY_TASK_FAILED"), "event 9 is called ACTIVITY_TASK_FAILED and holds"),
        (
            _set(f"{DONE}/result/payloads/0/data", base64.b64encode(b"{nonsense").decode()),
            "(ACTIVITY_TASK_COMPLETED) holds a payload that is no JSON",
        ),
    ],
)
async def test_events_that_are_not_as_they_were_recorded(tmp_path: Path, change: Any, said: str) -> None:
    """Removed, reordered or edited: the first event that shows it is named, and what is there is still told."""
    run = await from_file(spoiled(tmp_path, "normal", change), data_converter)
    assert all(isinstance(problem, HistoryBroken) for problem in run.problems)
    assert said in run.problems[0].message
    (chain,) = await from_files([tmp_path / "normal.json"], data_converter)
    assert tell(chain).turns


@pytest.mark.parametrize(("instead", "said"), [({}, "nothing"), (None, "what another kind of event does")])
async def test_an_event_of_each_kind_that_holds_nothing_or_anothers(
    tmp_path: Path, instead: dict[str, Any] | None, said: str
) -> None:
    """Also where it is the first: told in one line, with what the others tell, and no end of the command."""
    kinds = {each["eventType"]: number for number, each in enumerate(document("normal")["events"])}
    kinds["EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"] = 0
    assert len(kinds) > 8
    another = {"timerFiredEventAttributes": {}} if instead is None else instead
    for name, number in kinds.items():

        def change(events: list[Any], number: int = number) -> None:
            event = events[number]
            del event[next(each for each in event if each.endswith("EventAttributes"))]
            event |= another

        run = await from_file(spoiled(tmp_path, "normal", change), data_converter)
        called = name.removeprefix("EVENT_TYPE_")
        assert f"event {number + 1} is called {called} and holds {said}" in run.problems[0].message
        told = tell(Chain(run.workflow_id, (run,)))
        assert told.turns
        exact = await history_exact(run)
        assert (exact.state, exact.why) == ("differs", run.problems[0].message)


def _newer(events: list[Any]) -> None:
    """A kind of event and a field that only a newer server writes."""
    scheduled = next(each for each in events if each["eventType"].endswith("WORKFLOW_TASK_SCHEDULED"))
    del scheduled["workflowTaskScheduledEventAttributes"]
    scheduled |= {"eventType": "EVENT_TYPE_OF_THE_FUTURE", "ofTheFutureEventAttributes": {"not": "known"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_newer, "event 2 is of a kind that this version of Parley does not know. Look with the version that"),
        (_set("10/eventTime", "at noon"), "its event 10 cannot be read"),
        (_set("10/eventId", {}), "its event 10 cannot be read"),
    ],
)
async def test_an_event_that_cannot_be_read_is_named_and_the_others_told(
    tmp_path: Path, change: Any, said: str
) -> None:
    """It alone is missing from the story; what cannot be read is not said to differ."""
    run = await from_file(spoiled(tmp_path, "normal", change), data_converter)
    assert said in run.problems[0].message
    assert "\n" not in run.problems[0].message
    assert [turn.verdict for turn in tell(Chain(run.workflow_id, (run,))).turns] == ["pass", "pass"]
    exact = await history_exact(run)
    assert (exact.state, exact.why) == ("unchecked", run.problems[0].message)


async def test_another_workflow_is_not_told(tmp_path: Path) -> None:
    """The line names its type and ours."""
    change = _set("1/workflowExecutionStartedEventAttributes/workflowType/name", "OrderWorkflow")
    with pytest.raises(HistoryForeign, match="a run of OrderWorkflow"):
        await from_file(spoiled(tmp_path, "normal", change), data_converter)


class _Turned(PayloadCodec):
    """Stands for encryption: the bytes backwards, under an encoding of its own."""

    def __init__(self, *, has_key: bool) -> None:
        self.has_key = has_key

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        metadata = {"encoding": b"binary/encrypted", "encryption-key-id": b"acme-7"}
        return [Payload(metadata=metadata, data=each.SerializeToString()[::-1]) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self.has_key:
            return [Payload.FromString(each.data[::-1]) for each in payloads]
        return list(payloads)


async def _encoded(value: Any) -> Any:
    """The history's JSON with each payload encrypted."""
    if isinstance(value, dict) and "metadata" in value and "data" in value:
        metadata = {name: base64.b64decode(each) for name, each in value["metadata"].items()}
        (made,) = await _Turned(has_key=True).encode([Payload(metadata=metadata, data=base64.b64decode(value["data"]))])
        kept = {name: base64.b64encode(each).decode() for name, each in made.metadata.items()}
        return {"metadata": kept, "data": base64.b64encode(made.data).decode()}
    if isinstance(value, dict):
        return {name: await _encoded(each) for name, each in value.items()}
    return [await _encoded(each) for each in value] if isinstance(value, list) else value


async def test_an_encrypted_history_reads_with_its_key_and_says_which_key_is_missing(tmp_path: Path) -> None:
    """With the key the story is the same; without it the first event is named, and what is in clear is told."""
    path = tmp_path / "normal.json"
    path.write_text(json.dumps(await _encoded(document("normal"))))
    with_key = dataclasses.replace(data_converter, payload_codec=_Turned(has_key=True))
    without = dataclasses.replace(data_converter, payload_codec=_Turned(has_key=False))
    clear = tell((await from_files(recorded("normal"), data_converter))[0])
    assert tell((await from_files([path], with_key))[0]).turns == clear.turns
    (chain,) = await from_files([path], without)
    (problem,) = chain.problems
    assert isinstance(problem, HistoryLocked)
    assert "event 1 (WORKFLOW_EXECUTION_STARTED)" in problem.message
    assert "with key acme-7" in problem.message
    assert tell(chain).runs[0].ended == "completed"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A file, and a folder without one."""
    with pytest.raises(InvalidRequest, match="no such file"):
        history_files([tmp_path / "h.json"])
    with pytest.raises(InvalidRequest, match=r"no \.json file"):
        history_files([tmp_path])


def test_each_fault_of_a_history_is_one() -> None:
    """So that a command can tell them from others."""
    assert all(issubclass(each, HistoryFault) for each in (HistoryBroken, HistoryForeign, HistoryLocked))
