"""The cap on the tries of a turn: no generation beyond it, and how the climb ends there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.plan import LadderPlan, Rung, TurnPlan
from dialogue.steps import ReceiveInput
from tests.support.scripted_plan import LADDER, scripted_plan
from tests.workflows.conftest import Site
from workflows.ladder import _Climb

_SAMPLED = Rung(temperature=0.8)
_QUOTED = Rung(quote=True)


@pytest.mark.parametrize(("most", "generated"), [(1, 1), (2, 2), (3, 2)])
async def test_no_more_tries_than_the_plan_allows(site: Site, most: int, generated: int) -> None:
    """What would sample once more is passed over for the rung that ends the climb, which samples nothing."""

    def planner(request: ReceiveInput) -> TurnPlan:
        plan = scripted_plan(request, site.steps.queue, human_timeout=60, max_seconds=600, steps={})
        return plan.model_copy(update={"ladder": plan.ladder.model_copy(update={"max_tries": most})})

    site.steps.planner = planner
    reply = await site.say(site.new(), "the worst question")
    assert len(site.steps.called("generate_answer")) == generated
    assert (reply.verdict, reply.answer) == ("pass", "You have 30 days. [1]")


@given(most=st.integers(1, 10), rungs=st.lists(st.sampled_from((_SAMPLED, _QUOTED)), max_size=12))
def test_a_climb_samples_no_more_often_than_it_may(most: int, rungs: list[Rung]) -> None:
    """Whatever the rungs are, it comes to an end: by one that ends it, or by the fallback template."""
    climb = _Climb(LadderPlan(rungs={**LADDER, "failed_review": tuple(rungs)}, max_tries=most, max_seconds=600))
    climb.tries = sampled = 1
    while not (rung := climb.next("failed_review", 0.0)).ends:
        climb.tries += 1
        sampled += 1
    assert sampled <= most
    assert rung in (_QUOTED, Rung(template=True))
