"""Events become turns: what each history of the recorded shapes tells."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dialogue.faults import NoSuchTurn
from records.payloads import data_converter
from replay.chain import Chain, RecordedRun
from replay.events import kind
from replay.histories import from_file, from_files, history_files
from replay.run_reader import RunReader
from replay.story import tell, turn_of
from replay.turns import Turn
from replay.wording import describe
from tests.replay.made import HISTORIES, chain, completion_of, edited_result, renumbered, spoiled, story


async def test_a_turn_is_told_with_every_step() -> None:
    """Input, result, place and time of each of the six, and how the turn ended."""
    turn = turn_of(await story("normal"), 1)
    assert [step.step for step in turn.steps] == [
        "receive_input", "recognise_intent", "retrieve_knowledge", "generate_answer", "review_answer", "return_answer",
    ]  # fmt: skip
    assert (turn.said, turn.verdict, turn.intent, turn.state) == ("How long?", "pass", "return_item", "done")
    assert turn.answer.startswith("You have 30 days [1].")
    assert turn.message_id.startswith("m-")
    assert turn.plan is not None
    assert turn.passages[0].document == "en/returns.md"
    for step in turn.steps:
        assert step.state == "completed"
        assert step.input["turn"]["turn"] == 1
        assert isinstance(step.result, dict)
        assert step.queue_seconds is not None
        assert 0 <= step.queue_seconds < 5
        assert step.run_seconds is not None
        assert turn.received <= step.scheduled
    assert turn.audit_id == 1
    assert turn.answered is not None


async def test_a_chain_of_runs_is_one_story() -> None:
    """Turns go on counting over continue-as-new, and a message repeated later is told where it was answered."""
    told = await story("continued-as-new.1", "continued-as-new.2")
    assert [(turn.turn, turn.run) for turn in told.turns] == [(1, 1), (2, 1), (3, 2)]
    assert [run.ended for run in told.runs] == ["continued as new", "completed"]
    assert all(turn.said and len(turn.steps) == 6 for turn in told.turns)


async def test_the_later_run_alone_tells_its_own_turn() -> None:
    """A file of one run of many: its turn keeps its number."""
    told = await story("continued-as-new.2")
    assert [(turn.turn, turn.said) for turn in told.turns if turn.steps] == [(3, "And for gifts?")]


@pytest.mark.parametrize(
    ("name", "by", "decision", "timed_out"),
    [
        ("human-approved", "ann", "approve", False),
        ("human-resolved", "ann", "edit", False),
        ("human-rejected", "ann", "reject", False),
        ("human-timed-out", "", "", True),
        ("dialogue-resolved", "ann", "approve", False),
    ],
)
async def test_who_resolved_a_review_is_told(name: str, by: str, decision: str, timed_out: bool) -> None:
    """Or that nobody did in time, and how long it waited."""
    turn = turn_of(await story(name), 1)
    assert turn.human is not None
    assert (turn.human.by, turn.human.decision, turn.human.timed_out) == (by, decision, timed_out)
    assert turn.human.decided is not None
    assert turn.human.decided > turn.human.asked
    assert turn.verdict == "human"


async def test_attempts_and_rungs_are_told_apart() -> None:
    """An attempt is the machinery's, a rung the ladder's."""
    attempted = turn_of(await story("attempted-again"), 1)
    step = attempted.steps[0]
    assert step.attempt == 3
    assert "records-unavailable: the database is away" in step.attempts[0].failure
    assert not attempted.rungs
    climbed = turn_of(await story("rung-timed-out-to-quote"), 1)
    assert climbed.rungs == ((2, "timed out → max new tokens 20"), (3, "timed out → quote the passages"))
    assert [(draft.activity, draft.try_number) for draft in climbed.drafts][-1] == ("quote_passages", 3)


async def test_a_killed_worker_is_told_with_how_far_it_came(tmp_path: Path) -> None:
    """The history itself keeps the last attempt alone; the step's own result tells those before."""

    def killed(events: list[Any]) -> None:
        lost = {
            "number": 1,
            "worker": "gpu@host-b",
            "started": 1_790_000_000.0,
            "ended": 1_790_000_003.1,
            "tokens": 154,
        }
        lost["failure"] = "lost: no heartbeat after 154 tokens"
        went_on = {"number": 2, "worker": "gpu@host-c", "started": 1_790_000_003.2, "tokens": 47, "resumed_at": 154}
        change = edited_result("generate_answer", lambda v: v.update(attempts=[lost, went_on], resumed_at=154))
        change(events)
        started = completion_of("generate_answer", events)["startedEventId"]
        events[int(started) - 1]["activityTaskStartedEventAttributes"]["attempt"] = 2

    (found,) = await from_files([spoiled(tmp_path, "normal", killed)], data_converter)
    (step,) = turn_of(tell(found), 1).of("generate_answer")
    assert step.attempt == 2
    assert [(each.worker, each.tokens, each.failure) for each in step.attempts] == [
        ("gpu@host-b", 154, "lost: no heartbeat after 154 tokens"),
        ("gpu@host-c", 47, ""),
    ]
    assert describe(step).startswith("resumed at token 154")


_LOST = "lost: no heartbeat after 5 tokens"
_ATTEMPTS = [
    {"number": 1, "worker": "gpu-1", "started": 1_790_000_000.0, "tokens": 5, "failure": _LOST},
    {"number": 2, "worker": "gpu-2", "started": 1_790_000_003.0, "tokens": 7, "failure": ""},
    {"number": 3, "worker": "gpu-3", "started": 1_790_000_006.0, "tokens": 9, "failure": ""},
]
_IN_TIME = {"message": "activity Heartbeat timeout", "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_HEARTBEAT"}}
_KILLED = {"message": "killed", "applicationFailureInfo": {"type": "engine-lost"}}


def _ends_with(failure: dict[str, Any], of: str, attempts: list[Any], *, started: bool = True) -> Any:
    """Of rung-engine-lost the generation that three attempts lost: ended by that failure, whose field ``of`` tells
    attempts. ``started``: else it timed out while it waited for the next, of which the history has no start."""
    data = base64.b64encode(json.dumps({"attempts": attempts}).encode()).decode()
    told = {"payloads": [{"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": data}]}

    def edit(events: list[Any]) -> None:
        at = next(n for n, each in enumerate(events) if "activityTaskFailedEventAttributes" in each)
        ended = events[at].pop("activityTaskFailedEventAttributes")
        kind = "TimedOut" if of == "lastHeartbeatDetails" else "Failed"
        info = next(name for name in failure if name.endswith("Info"))
        ended["failure"] = {**failure, info: {**failure[info], of: told}}
        if kind == "TimedOut":
            ended.pop("identity")
        events[at][f"activityTask{kind}EventAttributes"] = ended
        events[at]["eventType"] = f"EVENT_TYPE_ACTIVITY_TASK_{'TIMED_OUT' if kind == 'TimedOut' else 'FAILED'}"
        if not started:
            ended["startedEventId"] = "0"
            of_start = events[at - 1].pop("activityTaskStartedEventAttributes")
            assert of_start["attempt"] == 3
            events[at - 1] |= {"eventType": "EVENT_TYPE_MARKER_RECORDED", "markerRecordedEventAttributes": {}}

    return edit


@pytest.mark.parametrize(
    ("change", "last"),
    [
        (_ends_with(_IN_TIME, "lastHeartbeatDetails", _ATTEMPTS), ("gpu-3", 9)),
        (_ends_with(_IN_TIME, "lastHeartbeatDetails", _ATTEMPTS[:2]), ("recorder", 0)),
        (_ends_with(_IN_TIME, "lastHeartbeatDetails", _ATTEMPTS, started=False), ("gpu-3", 9)),
        (_ends_with(_KILLED, "details", _ATTEMPTS), ("gpu-3", 9)),
    ],
    ids=["timed out", "timed out before its first heartbeat", "timed out between two attempts", "failed"],
)
async def test_a_generation_that_never_ended_well_is_told_with_all_its_attempts(
    tmp_path: Path, change: Any, last: tuple[str, int]
) -> None:
    """Out of its last heartbeat or out of its failure, each with its worker and how far it came."""
    (found,) = await from_files([spoiled(tmp_path, "rung-engine-lost", change)], data_converter)
    step = turn_of(tell(found), 1).of("generate_answer")[0]
    assert (step.attempt, step.worker, describe(step)) == (3, last[0], step.failure)
    assert step.failure in ("no answer in time: activity Heartbeat timeout", "engine-lost: killed")
    assert step.started is not None
    assert [(each.number, each.worker, each.tokens, each.failure) for each in step.attempts] == [
        (1, "gpu-1", 5, _LOST),
        (2, "gpu-2", 7, "lost: no heartbeat after 7 tokens"),
        (3, *last, step.failure),
    ]


async def test_a_turn_that_waits_for_a_person_says_so() -> None:
    """While its run goes on and nobody has decided."""
    found = await chain("human-resolved")
    (run,) = found.runs
    asked = next(
        event for event in run.events if event.HasField("timer_started_event_attributes") and event.event_id > 9
    )
    cut = RecordedRun(run.workflow_id, run.events[: asked.event_id], "cut")
    turn = turn_of(tell(Chain(run.workflow_id, (cut,))), 1)
    assert (turn.state, turn.human is not None and turn.human.by) == ("waiting", "")


async def test_a_cancelled_turn_says_why_and_what_ran() -> None:
    """While it ran, while it waited its turn, and with its whole workflow."""
    running = turn_of(await story("cancelled"), 1)
    assert (running.verdict, running.cancelled) == ("cancelled", "the reader left")
    assert any(step.state == "cancelled" for step in running.steps)
    queued = turn_of(await story("cancelled-while-queued"), 2)
    assert (queued.verdict, queued.said) == ("cancelled", "How long?")
    assert [step.step for step in queued.steps] == ["return_answer"]
    whole = turn_of(await story("workflow-cancelled"), 1)
    assert (whole.verdict, whole.note) == ("cancelled", "the workflow was cancelled")


async def test_a_failed_turn_says_which_step_and_why() -> None:
    """The failure of the step itself, in its own words."""
    turn = turn_of(await story("failed"), 1)
    failed = next(step for step in turn.steps if step.state == "failed")
    assert failed.step == "generate_answer"
    assert failed.failure.startswith("model-corrupt: ")
    assert turn.verdict == "failed"


async def test_steps_that_were_not_needed_say_why() -> None:
    """As the reply told them."""
    turn = turn_of(await story("refused"), 1)
    assert {each.step: each.why for each in turn.skipped}["recognise_intent"] == "refused by policy"


async def test_feedback_belongs_to_its_turn() -> None:
    """Whoever gave it."""
    (given,) = turn_of(await story("feedback"), 1).feedback
    assert (given.score, given.comment) == (1, "good")


async def test_feedback_of_a_later_run_belongs_to_its_turn_too() -> None:
    """The conversation went on as new before somebody rated its first turn, or was set back after that; what two runs
    have is told once."""
    first, second = (await chain("continued-as-new.1", "continued-as-new.2")).runs
    (rated,) = (await chain("feedback")).runs
    given = next(
        each
        for each in rated.events
        if each.activity_task_scheduled_event_attributes.activity_type.name == "keep_feedback"
    )
    *events, last = second.events
    second = replace(second, events=(*events, renumbered(given, last.event_id), renumbered(last, last.event_id + 1)))
    set_back = replace(rated, events=rated.events[: given.event_id - 1])
    for runs, told_by in (((first, second), 1), ((first, second, second), 1), ((rated, set_back), 2)):
        turn = turn_of(tell(Chain(first.workflow_id, runs)), 1)
        assert (turn.run, len(turn.steps), turn.answer != "") == (told_by, 6, True)
        assert [(each.score, each.comment) for each in turn.feedback] == [(1, "good")]


async def test_a_history_that_goes_on_tells_what_runs() -> None:
    """Cut at each event, as a history of a running workflow would be: never an error, and the turn's state fits."""
    for path in history_files([HISTORIES]):
        run = await from_file(path, data_converter)
        for length in range(1, len(run.events), 7):
            cut = RecordedRun(run.workflow_id, run.events[:length], "cut")
            for turn in tell(Chain(run.workflow_id, (cut,))).turns:
                assert turn.state in ("queued", "running", "waiting", "done"), (path.stem, length, turn)
                assert isinstance(turn, Turn)


async def test_a_turn_that_is_not_there() -> None:
    """The message names those that are."""
    with pytest.raises(NoSuchTurn, match="has no turn 9 here; it has 1, 2"):
        turn_of(await story("normal"), 9)


@pytest.mark.parametrize("at", ["WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "ACTIVITY_TASK_COMPLETED"])
async def test_a_message_that_opens_a_conversation_again_is_told_before_its_turn_begins(at: str) -> None:
    """While the audit is asked what the earlier run held, and once it answered: it counts on from there, and a repeated
    one is no turn. Without the earlier run its number is known as soon as the audit told it."""
    earlier, later = (await chain("reopened.1", "reopened.2")).runs
    place = next(number for number, event in enumerate(later.events, 1) if kind(event) == at)
    cut = replace(later, events=later.events[:place])
    both = tell(Chain(earlier.workflow_id, (earlier, cut)))
    assert [(turn.turn, turn.said, turn.state) for turn in both.turns] == [
        (1, "How long?", "done"),
        (2, "And now?", "queued"),
    ]
    alone = tell(Chain(earlier.workflow_id, (cut,), alone=True))
    assert [turn.turn for turn in alone.turns] == [2 if at == "ACTIVITY_TASK_COMPLETED" else 1]
    said = both.turns[1].message_id
    (first, _) = both.turns
    repeated = RunReader(cut, 2, ended="", earlier=(first.model_copy(update={"message_id": said}),))
    assert repeated.read() == []


def _terminated_with_two_waiting(events: list[Any]) -> None:
    """Behind its only turn: nobody had begun with them."""
    said = next(event for event in events if "workflowExecutionUpdateAcceptedEventAttributes" in event)
    del events[47:]
    for text in ("Lost?", "And lost?"):
        waits = copy.deepcopy(said) | {"eventId": str(len(events) + 1)}
        (payload,) = waits["workflowExecutionUpdateAcceptedEventAttributes"]["acceptedRequest"]["input"]["args"][
            "payloads"
        ]
        value = json.loads(base64.b64decode(payload["data"])) | {"message_id": text, "text": text}
        payload["data"] = base64.b64encode(json.dumps(value).encode()).decode()
        events.append(waits)
    ended = {"eventId": str(len(events) + 1), "eventTime": events[46]["eventTime"]}
    ended |= {"eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED"}
    events.append({**ended, "workflowExecutionTerminatedEventAttributes": {}})


@pytest.mark.parametrize("length", [5, 8], ids=["the audit is asked", "the audit has told"])
async def test_a_message_that_opens_a_conversation_again_is_numbered_as_the_audit_counts(
    tmp_path: Path, length: int
) -> None:
    """Messages that waited as the earlier run was terminated have no rows there, so the number of the first is given
    again; one whose number nobody has got is told as lost."""

    def cut(events: list[Any]) -> None:
        del events[length:]

    earlier = spoiled(tmp_path, "reopened.1", _terminated_with_two_waiting)
    (alone,) = await from_files([earlier], data_converter)
    lost = [(2, "Lost?", "lost"), (3, "And lost?", "lost")]
    assert [(turn.turn, turn.said, turn.state) for turn in tell(alone).turns[1:]] == lost
    (both,) = await from_files([earlier, spoiled(tmp_path, "reopened.2", cut)], data_converter)
    told = [(turn.turn, turn.said, turn.state) for turn in tell(both).turns[1:]]
    assert told == [(2, "And now?", "queued"), lost[1]]
