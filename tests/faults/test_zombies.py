"""A worker that stood still (SIGSTOP) for longer than its heartbeat timeout goes on (SIGCONT): a zombie."""

from __future__ import annotations

import asyncio

import pytest

from dialogue.faults import TokenLogFenced
from tests.faults.checks import look_at
from tests.faults.fault_site import QUESTIONS, Asked, FaultSite

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]

SECONDS = 120.0


async def test_a_gpu_zombie_writes_nothing_and_goes_on_serving(fault_pairs: FaultSite) -> None:
    """Another worker goes on from its tokens and finishes; what the zombie then writes and reports is refused."""
    faults = fault_pairs
    await faults.ready()
    (said,), (saying,) = faults.say((QUESTIONS[0], 1))
    hold = faults.desk.hold("generate_answer", "calling", said.conversation)
    stop = await asyncio.wait_for(hold.reached(), SECONDS)
    zombie = faults.worker(stop.pid)
    with faults.stopped(stop.pid):
        hold.go_on()
        await asyncio.wait_for(saying, SECONDS)
        written = await faults.stream(said)
    await _ended(faults, zombie, said, "generate_answer", {"fault": TokenLogFenced.type}, {"event": "step cancelled"})
    assert await faults.stream(said) == written
    await _another_finished(faults, said, "generate_answer", stop.pid)
    await _serves(faults, "gpu", zombie, "generate_answer")


async def test_a_dialogue_zombie_writes_no_second_row_and_no_second_final_event(fault_pairs: FaultSite) -> None:
    """It stood still after its row was kept and before the final event: another worker gives that very reply."""
    faults = fault_pairs
    await faults.ready()
    (said,), (saying,) = faults.say((QUESTIONS[1], 2))
    hold = faults.desk.hold("return_answer", "middle", said.conversation)
    stop = await asyncio.wait_for(hold.reached(), SECONDS)
    zombie = faults.worker(stop.pid)
    with faults.stopped(stop.pid):
        hold.go_on()
        await asyncio.wait_for(saying, SECONDS)
        written = await faults.stream(said)
    await _ended(faults, zombie, said, "return_answer", {"event": "step done"}, {"event": "step cancelled"})
    assert await faults.stream(said) == written
    await _another_finished(faults, said, "return_answer", stop.pid)
    await _serves(faults, "dialogue", zombie, "return_answer")


async def _ended(faults: FaultSite, zombie: str, said: Asked, step: str, *ways: dict[str, str]) -> None:
    """Until the zombie's log says that its step ended in one of these ways: its next heartbeat may tell it that
    another took its place before it comes to write."""
    of_the_step = {"step": step, "conversation": said.conversation}
    ends = [asyncio.create_task(faults.logged(zombie, **of_the_step, **way)) for way in ways]
    ended, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in waiting:
        end.cancel()
    await ended.pop()


async def _another_finished(faults: FaultSite, said: Asked, step: str, zombie: int) -> None:
    """All is as it should be, and the step's last attempt was not the zombie's, whose process id that is."""
    assert not (await look_at(faults, [said])).wrong
    (attempt,) = [each for each in await faults.attempts(said.conversation) if each[0] == step]
    assert attempt[1] > 1
    assert not attempt[2].endswith(f":{zombie}")


async def _serves(faults: FaultSite, pool: str, worker: str, step: str) -> None:
    """With the other one killed, the turn is this worker's."""
    (other,) = set(faults.pool(pool)) - {worker}
    pid = faults.supervisor.pids[worker]
    faults.kill(other)
    (said,), (saying,) = faults.say((QUESTIONS[2], 3))
    await asyncio.wait_for(saying, SECONDS)
    assert not (await look_at(faults, [said])).wrong
    (served,) = [each for each in await faults.attempts(said.conversation) if each[0] == step]
    assert served[2].endswith(f":{pid}")
