"""Two turns side by side, and two texts word by word."""

from __future__ import annotations

from replay.diff import compare, marked
from replay.story import turn_of
from tests.replay.made import story


async def test_a_turn_is_the_same_as_itself_and_as_one_like_it() -> None:
    """When and where it ran makes no difference."""
    told = await story("continued-as-new.1", "continued-as-new.2")
    assert compare(turn_of(told, 1), turn_of(told, 1)).same
    again = turn_of(await story("normal"), 1)
    assert compare(turn_of(told, 1), again).same


async def test_what_differs_is_named_step_by_step() -> None:
    """The first step that differs, the steps of one alone, and what whoever asked was told."""
    passed, blocked = turn_of(await story("normal"), 1), turn_of(await story("blocked"), 1)
    found = compare(passed, blocked)
    assert not found.same
    assert found.first is not None
    assert found.first.activity == "receive_input"
    assert ("verdict", "pass", "block") in {(each.path, each.a, each.b) for each in found.outcome}
    climbed = compare(passed, turn_of(await story("rung-repetition"), 1))
    assert {(step.activity, step.try_number, step.only) for step in climbed.steps} >= {("generate_answer", 2, "b")}


def test_texts_are_marked_word_by_word() -> None:
    """In Chinese character by character; readable without colour."""
    assert marked("within 24 hours of the report", "within 24 hours of the call") == (
        "within 24 hours of the [-report-]{+call+}"
    )
    assert marked("三十天内退货", "三十日内退货") == "三十[-天-]{+日+}内退货"
    assert marked("same", "same") == "same"
