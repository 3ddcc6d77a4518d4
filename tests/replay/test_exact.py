"""The tier history-exact: same commands, same arguments; and the first place where they are not."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialogue.faults import InvalidRequest
from records.payloads import data_converter
from replay.exact import HistoryExact, history_exact
from replay.histories import from_file, history_files
from replay.scan import of_files, scan
from tests.replay.made import HISTORIES, edited_result, spoiled

SCHEDULED, COMPLETED = "activityTaskScheduledEventAttributes", "activityTaskCompletedEventAttributes"


async def test_every_recorded_history_makes_the_same_commands_today() -> None:
    """As a running conversation needs it: what a command brings may have been worded otherwise since."""
    done = await scan(of_files(history_files([HISTORIES])), data_converter, arguments=False)
    assert [each.source for each in done.results if each.state != "same"] == []
    assert done.events > 3000


async def _exact(folder: Path, name: str, change: Callable[[list[Any]], None]) -> HistoryExact:
    return await history_exact(await from_file(spoiled(folder, name, change), data_converter))


@pytest.mark.parametrize(
    ("change", "step", "field"),
    [
        (edited_result("receive_input", lambda v: v.update(text="How short?")), "recognise_intent", "text"),
        (edited_result("generate_answer", lambda v: v.update(answer="90 days")), "review_answer", "answer"),
        (edited_result("review_answer", lambda v: v.update(answer="You have 90 days.")), "return_answer", "answer"),
        (edited_result("return_answer", lambda v: v.update(reply="You have 90 days.")), "reply", "answer"),
        (edited_result("recognise_intent", lambda v: v.update(intent="other")), "retrieve_knowledge", "intent"),
    ],
)
async def test_an_edited_result_is_found_where_it_is_used(tmp_path: Path, change: Any, step: str, field: str) -> None:
    """The SDK's Replayer compares no arguments; the next step's recorded input still says what the result was."""
    exact = await _exact(tmp_path, "normal", change)
    assert exact.state == "differs"
    assert exact.divergence is not None
    assert (exact.divergence.step, exact.divergence.field) == (step, field)
    assert exact.divergence.event is not None
    assert exact.divergence.recorded != exact.divergence.today
    if exact.same_commands:  # a worker would go on with it
        run = await from_file(tmp_path / "normal.json", data_converter)
        assert (await history_exact(run, arguments=False)).state == "same"


async def test_another_step_is_named_with_its_event(tmp_path: Path) -> None:
    """What was recorded and what today's code schedules in its place."""

    def change(events: list[Any]) -> None:
        held = next(
            e[SCHEDULED] for e in events if SCHEDULED in e and "retrieve" in e[SCHEDULED]["activityType"]["name"]
        )
        held["activityType"]["name"] = "review_answer"

    exact = await _exact(tmp_path, "normal", change)
    assert exact.divergence is not None
    assert "review_answer and is retrieve_knowledge today" in exact.divergence.line()
    assert "TMPRL1100" in exact.why


async def test_it_is_told_how_far_it_came() -> None:
    """A share that only grows, to about the end, where the last step was scheduled: what a progress bar needs."""
    shares: list[float] = []
    run = await from_file(HISTORIES / "normal.json", data_converter)
    assert (await history_exact(run, told=shares.append)).state == "same"
    assert shares == sorted(shares)
    assert len(shares) == 12
    assert 0.8 < shares[-1] <= 1


async def test_a_route_that_changes_the_course_is_told_in_words(tmp_path: Path) -> None:
    """The recorded step that today's code does not come to."""
    change = edited_result("recognise_intent", lambda v: v.update(route="template", reply="Hello!"))
    exact = await _exact(tmp_path, "normal", change)
    assert exact.state == "differs"
    assert exact.divergence is not None
    assert exact.divergence.event is not None
    assert "retrieve_knowledge" in exact.divergence.line()


async def test_what_cannot_be_decoded_is_not_replayed(tmp_path: Path) -> None:
    """A missing key is said to be one, and no other behaviour of the workflow."""

    def change(events: list[Any]) -> None:
        held = next(e[COMPLETED] for e in events if COMPLETED in e)
        held["result"]["payloads"][0]["metadata"]["encoding"] = base64.b64encode(b"binary/encrypted").decode()

    exact = await _exact(tmp_path, "normal", change)
    assert (exact.state, exact.divergence) == ("unchecked", None)
    assert "cannot be decoded" in exact.why


async def test_a_history_with_a_gap_differs_and_one_without_its_start_cannot_be_checked(tmp_path: Path) -> None:
    """It is said before anything is replayed."""
    gap = await _exact(tmp_path, "normal", lambda events: events.pop(8))
    assert (gap.state, "is missing" in gap.why) == ("differs", True)
    headless = await _exact(tmp_path, "normal", lambda events: events.pop(0))
    assert headless.state == "unchecked"


async def test_a_history_that_goes_on_is_the_same_so_far(tmp_path: Path) -> None:
    """What today's code would do next is no difference."""
    exact = await _exact(tmp_path, "normal", lambda events: events.__delitem__(slice(40, None)))
    assert exact.state == "same", exact.divergence


async def test_a_run_that_only_began_is_the_same_so_far(tmp_path: Path) -> None:
    """It has made no command: what continued as new a moment ago stands so until its first task is due."""
    async with asyncio.timeout(10):
        exact = await _exact(tmp_path, "continued-as-new.2", lambda events: events.__delitem__(slice(1, None)))
    assert (exact.state, exact.events, exact.turns) == ("same", 1, 0)


async def test_the_code_of_another_version_is_asked(tmp_path: Path, repository: Path) -> None:
    """All of its packages: a checkout whose turn leaves the intent out differs at that step, ours does not."""
    for package in ("dialogue", "records", "settings", "workflows"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    run = await from_file(HISTORIES / "normal.json", data_converter)
    assert (await history_exact(run, code=tmp_path)).state == "same"
    turn = tmp_path / "workflows" / "turn.py"
    turn.write_text(turn.read_text().replace("        await steps.recognise_intent(turn)\n", ""))
    exact = await history_exact(run, code=tmp_path)
    assert exact.state == "differs"
    assert exact.divergence is not None
    assert exact.divergence.line().startswith("event 13, recognise_intent: the step was recognise_intent and is")


async def test_a_refusal_is_held_against_what_was_answered_then(tmp_path: Path) -> None:
    """A reply, or a refusal of another type: the SDK's Replayer is content with any end of an update."""
    name, completed = "refused-after-acceptance.2", "workflowExecutionUpdateCompletedEventAttributes"

    def outcomes(events: list[Any]) -> list[dict[str, Any]]:
        return [
            each[completed]["outcome"] for each in events if "failure" in each.get(completed, {}).get("outcome", {})
        ]

    def another(events: list[Any]) -> None:
        outcomes(events)[0]["failure"]["applicationFailureInfo"]["type"] = "conversation-closed"

    def reply(events: list[Any]) -> None:
        outcome = outcomes(events)[0]
        outcome.clear()
        outcome["success"] = {"payloads": []}

    told = [(await _exact(tmp_path, name, change)).divergence for change in (another, reply)]
    assert [(each.field, each.recorded, each.today) for each in told if each is not None] == [
        ("its refusal", "conversation-closed", "message-id-reused"),
        ("its outcome", "a reply", "a refusal"),
    ]


async def test_what_is_no_checkout_is_said_to_be_none(tmp_path: Path) -> None:
    """By what it lacks, or by why it cannot be loaded."""
    run = await from_file(HISTORIES / "normal.json", data_converter)
    with pytest.raises(InvalidRequest, match="has no workflows/"):
        await history_exact(run, code=tmp_path)
    for package in ("dialogue", "records", "workflows"):
        (tmp_path / package).mkdir()
    with pytest.raises(InvalidRequest, match="cannot be loaded"):
        await history_exact(run, code=tmp_path)
