"""Every pool is restarted (SIGTERM) while people talk: no attempt is lost and no caller sees an error."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.faults.checks import look_at
from tests.faults.fault_site import QUESTIONS, FaultSite
from tests.faults.stops import MIDDLE
from tests.faults.traffic import traffic

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]

PEOPLE = 4
SECONDS = 180.0
HANDED_OVER_SECONDS = 4.0
"""From the end of the drain to the next attempt: far above the retry's 50 ms, for the machine may be busy."""


async def test_one_process_of_each_pool_is_restarted_under_load(faults: FaultSite) -> None:
    """Messages wait in Temporal until it is up again."""
    await _restart_every_pool(faults)


async def test_two_processes_of_each_pool_are_restarted_in_turn_under_load(fault_pairs: FaultSite) -> None:
    """The other one takes the work."""
    await _restart_every_pool(fault_pairs)


async def test_an_answer_longer_than_the_drain_goes_on_elsewhere(fault_pairs: FaultSite) -> None:
    """A worker that is told to stop takes no more tasks and waits ``shutdown_seconds``; what is not done then costs an
    attempt, no token, and no heartbeat timeout: another worker has it at once."""
    faults = fault_pairs
    await faults.ready()
    (said,), (saying,) = faults.say((QUESTIONS[0], 1))
    hold = faults.desk.hold("generate_answer", "middle", said.conversation)
    stop = await asyncio.wait_for(hold.reached(), SECONDS)
    draining = faults.worker(stop.pid)
    faults.supervisor.kill(draining, signal.SIGTERM)
    told_at = time.monotonic()
    await faults.logged(draining, event="worker stopping")
    meanwhile, answering = faults.say(*((question, 1) for question in QUESTIONS[1:]))
    await asyncio.wait_for(asyncio.gather(saying, *answering), SECONDS)
    assert [each.again for each in (said, *meanwhile)] == [[]] * len(QUESTIONS)
    assert not (await look_at(faults, [said, *meanwhile])).wrong
    for each in meanwhile:
        (generated,) = [one for one in await faults.attempts(each.conversation) if one[0] == "generate_answer"]
        assert generated[1] == 1
        assert not generated[2].endswith(f":{stop.pid}")
    retried = (said.conversation, "generate_answer", "before", stop.attempt + 1)
    heard = faults.desk.heard
    (again,) = [each.at for each in heard if (each.conversation, each.step, each.when, each.attempt) == retried]
    bound = faults.site.settings.pools["gpu"].shutdown_seconds
    assert bound - 1 < again - told_at < bound + HANDED_OVER_SECONDS
    generated = next(step for step in said.reply["steps"] if step["step"] == "generate_answer")
    assert generated["attempt"] == stop.attempt + 1
    assert f"resumed at token {MIDDLE}" in generated["result"]


async def _restart_every_pool(faults: FaultSite) -> None:
    """One process after another, each once people were answered since the last was up again."""
    await faults.ready()
    async with traffic(faults, PEOPLE, SECONDS) as going:
        for process in (name for pool in faults.site.settings.pools for name in faults.pool(pool)):
            await asyncio.wait_for(going.more(PEOPLE), SECONDS)
            before = faults.supervisor.kill(process, signal.SIGTERM)
            assert await asyncio.wait_for(faults.supervisor.ready(process), SECONDS) != before
        await asyncio.wait_for(going.more(PEOPLE), SECONDS)
    assert [said.again for said in going.said] == [[]] * len(going.said)
    assert not (await look_at(faults, going.said)).wrong
    conversations = {said.conversation for said in going.said}
    ended = [each for conversation in conversations for each in await faults.attempts(conversation)]
    assert [each for each in ended if each[1] > 1] == []
    assert {"receive_input", "generate_answer", "return_answer"} <= {each[0] for each in ended}
