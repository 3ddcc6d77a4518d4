"""A caller token comes to the first step, and a refused one ends its turn and nothing else."""

from __future__ import annotations

import time

from temporalio.exceptions import ApplicationError

from dialogue.faults import CallerRefused
from dialogue.messages import DialogueStart, Say
from dialogue.plan import TurnPlan
from dialogue.steps import ReceiveInput
from dialogue.turn import Reply
from tests.support.scripted_plan import scripted_plan
from tests.workflows.conftest import Site

TOKEN = "header.claims.signature"


def refusing(site: Site) -> None:
    def plan(request: ReceiveInput) -> TurnPlan:
        if request.caller != TOKEN:
            raise ApplicationError("caller: the token is missing.", type=CallerRefused.type, non_retryable=True)
        return scripted_plan(request, site.steps.queue, human_timeout=3600.0, max_seconds=600.0, steps={})

    site.steps.planner = plan


async def test_the_token_comes_to_the_first_step_with_the_moment_it_came(site: Site) -> None:
    """Of a message and of a question; no other step and no reply has it."""
    before = time.time()
    said = Say(message_id="m1", text="How long?", caller=TOKEN)
    asked = DialogueStart(question="How long?", caller=TOKEN)
    replies = [await site.conversations.say(site.new(), said, fresh=True), await site.conversations.ask(asked)]
    received: list[ReceiveInput] = site.steps.called("receive_input")
    assert [each.caller for each in received] == [TOKEN, TOKEN]
    for each in received:
        assert each.said_at is not None
        assert before - 60 < each.said_at < time.time() + 60
    others = [argument for name, argument in site.steps.calls if name != "receive_input"]
    assert TOKEN not in str([other.model_dump() for other in others])
    assert TOKEN not in str(replies)
    assert TOKEN not in f"{said!r} {asked!r} {received!r}"


async def test_a_refused_message_leaves_its_row_and_the_conversation_goes_on(site: Site) -> None:
    """One attempt, verdict ``failed``, the reason in its note; the next message that is vouched for is answered."""
    refusing(site)
    conversation = site.new()
    reply = await site.say(conversation, "How long?")
    assert (reply.verdict, reply.state) == ("failed", "done")
    assert reply.note == "receive_input: caller-refused: caller: the token is missing."
    assert [step.step for step in reply.steps] == ["return_answer"]
    assert len(site.steps.called("receive_input")) == 1
    row = site.steps.rows[conversation, 1]
    assert (row.verdict, row.note) == ("failed", reply.note)
    again = await site.conversations.say(conversation, Say(message_id="m2", text="How long?", caller=TOKEN))
    assert isinstance(again, Reply)
    assert (again.turn, again.verdict) == (2, "pass")


async def test_a_refused_question_is_answered_once(site: Site) -> None:
    """The workflow completes; it is neither failed nor tried again."""
    refusing(site)
    reply = await site.conversations.ask(DialogueStart(question="How long?"))
    assert isinstance(reply, Reply)
    assert reply.verdict == "failed"
    assert "caller-refused" in reply.note
    assert len(site.steps.called("receive_input")) == 1
