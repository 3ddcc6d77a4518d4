"""When a step is attempted again and when no more: the plan's times, on a server where time is skipped.

While an activity runs that server's time is real time, so what bounds an attempt is half a second here; all the
waiting between attempts is skipped.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateStage
from temporalio.testing import WorkflowEnvironment

from dialogue.messages import ConversationStart, DialogueStart, Say
from dialogue.plan import RetryPlan, StepName, StepPlan
from dialogue.turn import Reply
from tests.support.scripted_faults import ScriptedFaults
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

MINUTES = RetryPlan(initial_interval=60, backoff_coefficient=2, maximum_interval=150)


class Site:
    """A dialogue on a skipping server, with faults."""

    def __init__(self, skipping: WorkflowEnvironment, faults: ScriptedFaults) -> None:
        self.skipping, self.client = skipping, skipping.client
        self.faults = faults
        self.steps = ScriptedSteps(f"q-{uuid.uuid4().hex[:6]}")

    def plan(self, step: StepName, **changes: object) -> None:
        given = {"task_queue": self.steps.queue, "start_to_close": 20, "heartbeat": 10, "retry": MINUTES, **changes}
        self.steps.plans[step] = StepPlan.model_validate(given)

    async def ask(self, question: str = "How long?") -> Reply:
        async with scripted_worker(self.client, self.steps, interceptors=[self.faults]):
            handle: WorkflowHandle[object, Reply] = await self.client.start_workflow(
                "DialogueWorkflow",
                DialogueStart(question=question),
                id=f"dlg-{uuid.uuid4().hex[:12]}",
                task_queue=self.steps.queue,
                result_type=Reply,
            )
            return await handle.result()


def _spaced(waits: Sequence[float], plan: Sequence[float]) -> bool:
    """Each as long as planned, and little longer: a busy machine is late, nothing is early."""
    return len(waits) == len(plan) and all(-0.05 < wait - due < 2 for wait, due in zip(waits, plan, strict=True))


@pytest.fixture
def site(skipping: WorkflowEnvironment) -> Site:
    return Site(skipping, ScriptedFaults())


async def test_attempts_are_spaced_as_the_plan_says(site: Site) -> None:
    """The first wait is the initial interval, each next one longer by the coefficient, none above the maximum."""
    site.plan("recognise_intent")
    site.faults.failing = {"recognise_intent": 5}
    reply = await site.ask()
    assert _spaced(site.faults.waits("recognise_intent"), [60, 120, 150, 150, 150])
    assert reply.verdict == "pass"
    assert len(site.steps.called("recognise_intent")) == 1


@pytest.mark.parametrize(
    ("retry", "waits"),
    [
        (RetryPlan(initial_interval=10, backoff_coefficient=1, maximum_interval=600), [10, 10, 10, 10]),
        (RetryPlan(initial_interval=1, backoff_coefficient=10, maximum_interval=500), [1, 10, 100, 500]),
        (RetryPlan(initial_interval=30, backoff_coefficient=2, maximum_interval=30), [30, 30, 30, 30]),
    ],
    ids=["even", "tenfold", "at once at its maximum"],
)
async def test_another_plan_is_another_rhythm(site: Site, retry: RetryPlan, waits: list[float]) -> None:
    """Interval, coefficient and maximum each reach Temporal."""
    site.plan("generate_answer", retry=retry)
    site.faults.failing = {"generate_answer": 4}
    await site.ask()
    assert _spaced(site.faults.waits("generate_answer"), waits)


async def test_attempts_end_at_their_number(site: Site) -> None:
    """The turn fails with the last attempt's reason, and its row is written all the same."""
    site.plan("recognise_intent", retry=MINUTES.model_copy(update={"maximum_attempts": 3}))
    site.faults.failing = {"recognise_intent": 99}
    reply = await site.ask()
    assert _spaced(site.faults.waits("recognise_intent"), [60, 120])
    assert (reply.verdict, reply.note) == ("failed", "recognise_intent: records-unavailable: it is away")
    assert [row.verdict for row in site.steps.rows.values()] == ["failed"]


async def test_schedule_to_close_bounds_all_attempts_together(site: Site) -> None:
    """No attempt begins after it: of those after 60, 180, 330 and 480 seconds the last is one too many."""
    site.plan("recognise_intent", schedule_to_close=400)
    site.faults.failing = {"recognise_intent": 99}
    reply = await site.ask()
    assert _spaced(site.faults.waits("recognise_intent"), [60, 120, 150])
    assert reply.verdict == "failed"
    assert reply.note.startswith("recognise_intent: ")


async def test_a_silent_attempt_is_replaced_after_the_heartbeat_timeout(site: Site) -> None:
    """A worker that is gone says nothing; the second attempt comes after the timeout and the back-off."""
    site.plan("generate_answer", heartbeat=0.5)
    site.faults.silent = {"generate_answer": 1}
    reply = await site.ask()
    assert _spaced(site.faults.waits("generate_answer"), [60.5])
    assert (reply.verdict, len(site.steps.called("generate_answer"))) == ("pass", 1)


async def test_an_attempt_that_heartbeats_is_ended_by_start_to_close(site: Site) -> None:
    """It is alive, but not for ever."""
    site.plan("generate_answer", start_to_close=0.7, heartbeat=0.4)
    site.faults.beating = {"generate_answer": 1}
    reply = await site.ask()
    assert _spaced(site.faults.waits("generate_answer"), [60.7])
    assert reply.verdict == "pass"


async def test_an_attempt_out_of_time_for_good_is_a_poor_result(site: Site) -> None:
    """When no attempt is left the ladder goes on with ``timed_out``: a shorter answer is tried."""
    once = MINUTES.model_copy(update={"maximum_attempts": 1})
    site.plan("generate_answer", start_to_close=0.5, heartbeat=None, retry=once)
    site.faults.silent = {"generate_answer": 1}
    reply = await site.ask()
    tries = [step.result for step in reply.steps if step.step == "generate_answer"]
    assert tries[0] == "0 tokens · timed out"
    # the script's silence is by attempt, and the second try's first attempt is silent too
    assert tries[-1].startswith("timed out → quote the passages")
    assert reply.verdict == "pass"


@pytest.mark.parametrize(("max_seconds", "verdict", "tries"), [(1000, "pass", 2), (300, "template", 1)])
async def test_the_ladder_is_climbed_within_its_time(site: Site, max_seconds: float, verdict: str, tries: int) -> None:
    """A first try that was good only after 330 seconds leaves no time for a second, unless there is more."""
    site.plan("generate_answer")
    site.steps.max_seconds = max_seconds
    site.faults.failing = {"generate_answer": 3}
    reply = await site.ask("repeat yourself")
    assert _spaced(site.faults.waits("generate_answer")[:3], [60, 120, 150])
    assert (reply.verdict, len(site.steps.called("generate_answer"))) == (verdict, tries)


async def test_the_first_step_gives_up_after_two_minutes(site: Site) -> None:
    """It has no plan yet; whoever asked waits. Its attempts come every five seconds in the end."""
    site.faults.failing = {"receive_input": 999}
    reply = await site.ask()
    waits = site.faults.waits("receive_input")
    assert _spaced(waits[:6], [0.2, 0.4, 0.8, 1.6, 3.2, 5])
    assert 110 < sum(waits) < 120
    assert (reply.verdict, reply.steps[-1].step) == ("failed", "return_answer")


async def test_the_last_step_is_attempted_until_it_succeeds(site: Site) -> None:
    """Hours without the records cost time and no row; the attempts come every fifteen seconds in the end."""
    site.faults.failing = {"receive_input": 999, "return_answer": 500}
    reply = await site.ask()
    waits = site.faults.waits("return_answer")
    assert len(waits) == 500
    assert _spaced(waits[-3:], [15, 15, 15])
    assert sum(waits) > 2 * 3600
    assert reply.verdict == "failed"
    assert len(site.steps.rows) == 1


@pytest.mark.parametrize("activity", ["recall_conversation", "keep_feedback"])
async def test_the_records_are_asked_until_they_answer(site: Site, activity: str) -> None:
    """A conversation that is opened again, and its feedback, wait for the records: one second, then up to ten."""
    site.faults.failing = {activity: 7}
    async with scripted_worker(site.client, site.steps, interceptors=[site.faults]):
        handle = await site.client.start_workflow(
            "ConversationWorkflow",
            ConversationStart(idle_timeout=3600),
            id=f"conv-{uuid.uuid4().hex[:12]}",
            task_queue=site.steps.queue,
        )
        say = Say(message_id="m1", text="How long?")
        accepted = WorkflowUpdateStage.ACCEPTED
        said = await handle.start_update("say", say, id="m1", wait_for_stage=accepted, result_type=Reply)
        await site.skipping.sleep(120)
        assert (await said.result()).verdict == "pass"
        await handle.signal("feedback", {"turn": 1, "score": 1})
        assert (await handle.result())["reason"] == "idle"
    assert _spaced(site.faults.waits(activity), [1, 2, 4, 8, 10, 10, 10])
    assert [feedback.score for _, feedback in site.steps.feedback] == [1]
