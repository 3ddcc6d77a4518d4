"""The cap on the tokens of a whole turn: what its tries may ask for, and how the climb ends when they are used up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.messages import ResolveReview
from dialogue.plan import LadderPlan, Poor, Rung, TurnPlan
from dialogue.steps import ReceiveInput
from tests.support.scripted_plan import LADDER, scripted_plan
from tests.workflows.conftest import Site
from tests.workflows.test_attempts import Site as FaultySite
from tests.workflows.test_attempts import site as faulty
from workflows.ladder import _Climb, _Try

__all__ = ["faulty"]

# each candidate of a scripted try makes eight tokens, and a first try may ask for 64


def bounded(site: Site | FaultySite, tokens: int | None, rungs: dict[Poor, tuple[Rung, ...]] | None = None) -> None:
    """Lets the site's turns make so many tokens, with other rungs where they are given."""
    steps = site.steps
    steps.max_turn_tokens = tokens
    if rungs is None:
        return

    def planner(request: ReceiveInput) -> TurnPlan:
        plan = scripted_plan(
            request, steps.queue, human_timeout=3600, max_seconds=600, max_turn_tokens=tokens, steps=steps.plans
        )
        return plan.model_copy(update={"ladder": plan.ladder.model_copy(update={"rungs": {**LADDER, **rungs}})})

    steps.planner = planner


def asked(site: Site | FaultySite) -> list[tuple[int, int]]:
    """New tokens and candidates of each generated try."""
    return [(request.max_new_tokens, request.candidates) for request in site.steps.called("generate_answer")]


@pytest.mark.parametrize(
    ("tokens", "tries"),
    [
        (None, [(64, 1), (64, 3)]),
        (1000, [(64, 1), (64, 3)]),
        (64, [(64, 1), (18, 3)]),
        (40, [(40, 1), (10, 3)]),
        (10, [(10, 1), (1, 2)]),
    ],
)
async def test_no_try_is_asked_for_more_than_is_left(
    site: Site, tokens: int | None, tries: list[tuple[int, int]]
) -> None:
    """Candidates share what is left; where there are more of them than tokens, there are fewer."""
    bounded(site, tokens)
    reply = await site.say(site.new(), "bad answer first")
    assert asked(site) == tries
    assert reply.verdict == "pass"


async def test_used_up_the_passages_are_quoted(site: Site) -> None:
    """The rung that would sample again is passed over, for the one that ends the climb."""
    bounded(site, 8)
    reply = await site.say(site.new(), "repeat yourself")
    assert asked(site) == [(8, 1)]
    assert (reply.verdict, reply.answer) == ("pass", "You have 30 days. [1]")
    assert reply.steps[4].result.startswith("repetition → quote the passages")


async def test_candidates_count_each(site: Site) -> None:
    """Three of them make 24 tokens, so that two tries use up 32 and the third is none."""
    bounded(site, 32, {"failed_review": (Rung(candidates=3), Rung(temperature=0.9), Rung(human=True))})
    conversation = site.new()
    reply = await site.say(conversation, "the worst question")
    assert asked(site) == [(32, 1), (8, 3)]
    assert (reply.state, reply.usage.completion_tokens) == ("waiting", 32)
    await site.conversations.resolve_review(conversation, ResolveReview(turn=1, decision="reject", by="ann"))


async def test_used_up_without_such_a_rung_the_fallback_is_sent(site: Site) -> None:
    """And the note says why."""
    bounded(site, 8)
    reply = await site.say(site.new(), "nothing comes")
    assert asked(site) == [(8, 1)]
    assert (reply.verdict, reply.answer) == ("template", "(fallback)")
    assert reply.note == "empty: the turn's tokens are used up"


async def test_a_ladder_that_ends_with_tokens_left_says_so(site: Site) -> None:
    """The cap is not what ended it."""
    bounded(site, 1000)
    assert (await site.say(site.new(), "nothing comes")).note == "empty: the ladder is at its end"


async def test_each_turn_has_its_own(site: Site) -> None:
    """What one turn has used up is there again for the next."""
    bounded(site, 8)
    conversation = site.new()
    for text in ("How long?", "And in a shop?"):
        assert (await site.say(conversation, text)).verdict == "pass"
    assert asked(site) == [(8, 1), (8, 1)]


async def test_attempts_of_a_try_count_once(faulty: FaultySite) -> None:
    """Temporal repeats each try for minutes; its tokens are those of the attempt that ended well."""
    faulty.plan("generate_answer")
    faulty.faults.failing = {"generate_answer": 3}
    bounded(faulty, 20)
    reply = await faulty.ask("repeat yourself")
    numbers = [attempt.number for attempt in faulty.faults.attempts if attempt.activity == "generate_answer"]
    assert numbers == [1, 2, 3, 4, 1, 2, 3, 4]
    assert asked(faulty) == [(20, 1), (12, 1)]
    assert (reply.verdict, reply.usage.completion_tokens) == ("pass", 16)


def test_a_plan_of_before_has_no_bound() -> None:
    """A history recorded without the field goes on as it began."""
    plan = LadderPlan.model_validate({"rungs": {}, "max_tries": 4, "max_seconds": 600})
    assert _Climb(plan).left(10**9) is None


@given(st.integers(1, 40_000), st.integers(1, 16), st.integers(1, 100_000))
def test_what_is_asked_for_fits_into_what_is_left(wanted: int, candidates: int, left: int) -> None:
    """And is at least one token of one candidate, never more than was wanted."""
    request = _Try(0.6, 0.95, wanted, thinking_budget=None, passages=None, history=0, candidates=candidates)
    each, count = request.within(left)
    assert 1 <= each <= wanted
    assert 1 <= count <= candidates
    assert each * count <= left
    assert request.within(None) == (wanted, candidates)
