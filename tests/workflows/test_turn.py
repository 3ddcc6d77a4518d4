"""A turn runs the six steps in order, skips what it does not need and says why."""

from __future__ import annotations

import pytest

from dialogue.plan import TurnPlan
from dialogue.steps import ReceiveInput
from tests.support.scripted_plan import scripted_plan
from tests.workflows.conftest import Site


async def test_a_plain_question_runs_all_six_steps_in_order(site: Site) -> None:
    """The steps are scheduled in their order, each once, and the reply lists them."""
    reply = await site.say(site.new(), "How long may I take?")
    assert [step.step for step in reply.steps] == [
        "receive_input",
        "recognise_intent",
        "retrieve_knowledge",
        "generate_answer",
        "review_answer",
        "return_answer",
    ]
    assert [name for name, _ in site.steps.calls] == [step.step for step in reply.steps]
    assert (reply.verdict, reply.state, reply.turn) == ("pass", "done", 1)
    assert reply.answer == "You have 30 days [1]. (0)"


UNANSWERED = ["retrieve_knowledge", "generate_answer", "review_answer"]


@pytest.mark.parametrize(
    ("text", "verdict", "answer", "skipped"),
    [
        (
            "please refuse me",
            "refused",
            "We cannot help with that.",
            ["recognise_intent", "retrieve_knowledge", "generate_answer", "review_answer"],
        ),
        ("a greeting", "template", "Hello!", UNANSWERED),
        (
            "the weather",
            "template",
            "I know about returns.",
            UNANSWERED,
        ),
        ("let us chat", "pass", "You have 30 days [1]. (0)", ["retrieve_knowledge"]),
        ("block this", "block", "(block)", []),
    ],
)
async def test_a_step_that_is_not_needed_is_skipped_and_says_why(
    site: Site, text: str, verdict: str, answer: str, skipped: list[str]
) -> None:
    """A skipped step is in the table with its reason and is never scheduled; the audit has its row all the same."""
    conversation = site.new()
    reply = await site.say(conversation, text)
    assert (reply.verdict, reply.answer) == (verdict, answer)
    assert [step.step for step in reply.steps if step.skipped] == skipped
    assert all(step.result.startswith("skipped: ") for step in reply.steps if step.skipped)
    assert not set(skipped) & {name for name, _ in site.steps.calls}
    assert site.steps.rows[conversation, 1].verdict == verdict


async def test_the_planned_template_goes_to_the_last_step(site: Site) -> None:
    """That of the turn's language, the answer alone where there is none, nothing where it was not planned."""
    plans = {"conv-en": {"en": "{answer} -- Acme"}, "conv-zh": {"zh": "{answer}"}, "conv-old": None}

    def plan(request: ReceiveInput) -> TurnPlan:
        usual = scripted_plan(request, site.steps.queue, human_timeout=60, max_seconds=60, steps={})
        name = next(name for name in plans if request.turn.conversation.startswith(name))
        return usual.model_copy(update={"template": plans[name]})

    site.steps.planner = plan
    for name in plans:
        await site.say(f"{name}-{site.new()}", "How long?")
    assert [request.template for request in site.steps.called("return_answer")] == [
        "{answer} -- Acme",
        "{answer}",
        None,
    ]


async def test_a_step_that_fails_for_good_fails_the_turn_and_leaves_a_row(site: Site) -> None:
    """The reply says that it failed, the row names the step and the fault, and the conversation goes on."""
    conversation = site.new()
    reply = await site.say(conversation, "unreadable")
    assert reply.verdict == "failed"
    assert "receive_input: policy: the policy cannot be used" in site.steps.rows[conversation, 1].note
    assert (await site.say(conversation, "How long?")).turn == 2


async def test_a_fault_of_the_machinery_is_attempted_again(site: Site) -> None:
    """Two failed attempts do not show in the reply but as the attempt that went well."""
    reply = await site.say(site.new(), "flaky: how long?")
    assert reply.verdict == "pass"
    assert reply.steps[0].attempt == 3


async def test_a_masked_message_is_masked_everywhere_after_the_first_step(site: Site) -> None:
    """What the first step masked reaches neither the other steps nor the audit row."""
    conversation = site.new()
    await site.say(conversation, "Call me at 13812345678, how long?")
    later = [argument.model_dump_json() for name, argument in site.steps.calls if name != "receive_input"]
    assert later
    assert not any("13812345678" in argument for argument in later)
