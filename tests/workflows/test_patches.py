"""The life of a patch, shown on ``reply-held``: what each stage of it replays, and what would have happened without.

``docs/changing-workflows.md`` tells the same story.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from dialogue.messages import Say
from dialogue.turn import Reply
from tests.support.changed_workflows import changed_workflows, failures_of
from tests.support.replay import replay
from tests.workflows.conftest import Site

BEFORE, AFTER = "repeated-in-run", "repeated-in-run-held"
"""Histories of the same messages, recorded before and after the change."""
PATCHED = "if held is not None and workflow.patched(REPLY_HELD):"


async def test_a_repeated_message_is_answered_without_the_audit(site: Site) -> None:
    """Under an update id of its own it reaches the workflow, which still holds the reply."""
    conversation = site.new()
    first = await site.say(conversation, "How long?", "m1")
    handle = site.client.get_workflow_handle(conversation)
    repeated = Say(message_id="m1", text="How long?")
    again = await handle.execute_update("say", repeated, id="another-id", result_type=Reply)
    assert again == first
    assert site.steps.called("recall_conversation") == []
    assert len(site.steps.rows) == 1


async def test_a_reply_that_the_run_no_longer_holds_comes_from_the_audit(site: Site) -> None:
    """It holds the last eight."""
    conversation = site.new()
    replies = [await site.say(conversation, f"How long, {number}?", f"m{number}") for number in range(10)]
    handle = site.client.get_workflow_handle(conversation)
    repeated = Say(message_id="m0", text="How long, 0?")
    again = await handle.execute_update("say", repeated, id="another-id", result_type=Reply)
    assert (again.turn, again.answer) == (1, replies[0].answer)
    assert len(site.steps.called("recall_conversation")) == 1


@pytest.mark.parametrize("page", ["docs/changing-workflows.md", "docs/zh-CN/changing-workflows.md"])
def test_the_page_shows_the_code_as_it_is(repository: Path, page: str) -> None:
    """Its example is this one, word for word."""
    shown = re.findall(r"```python\n(.*?)```", (repository / page).read_text("utf-8"), re.DOTALL)
    source = (repository / "workflows" / "conversation_workflow.py").read_text("utf-8")
    assert [textwrap.indent(block, " " * 8) in source for block in shown] == [True]
    assert PATCHED in shown[0]


def test_with_the_patch_old_and_new_histories_replay() -> None:
    """A conversation that began before goes on as it began; a new one does what is new."""
    assert (replay(BEFORE), replay(AFTER)) == (None, None)


@pytest.mark.parametrize(
    ("instead", "breaks"),
    [
        ("if held is not None:", {BEFORE, AFTER}),
        ("if False:", {AFTER}),
        ("workflow.deprecate_patch(REPLY_HELD)\n        if held is not None:", {BEFORE}),
    ],
    ids=["the change without its patch", "rolled back", "deprecated"],
)
def test_each_other_way_breaks_what_it_must(tmp_path: Path, instead: str, breaks: set[str]) -> None:
    """Without the patch the old history is caught; rolled back, the new one; deprecated too early, the old one."""
    folder = changed_workflows(tmp_path, {"conversation_workflow.py": (PATCHED, instead)})
    failures = failures_of(folder, BEFORE, AFTER)
    assert {name for name, failure in failures.items() if "ondeterminism" in failure} == breaks
    assert {name for name, failure in failures.items() if failure} == breaks
