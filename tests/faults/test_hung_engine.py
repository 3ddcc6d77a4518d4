"""An engine that hangs (SIGSTOP: it lives and makes no token) is replaced, and its turn goes on from its tokens."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from dialogue.faults import EngineHung
from tests.faults.checks import look_at
from tests.faults.fault_site import HANG_SECONDS, QUESTIONS, FaultSite
from tests.faults.stops import MIDDLE

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]

SECONDS = 180.0


async def test_a_hung_engine_is_replaced_and_its_turn_goes_on_from_its_tokens(fault_pairs: FaultSite) -> None:
    """After ``hang_seconds`` without a token, not before; the worker itself is not restarted and serves on."""
    faults = fault_pairs
    await faults.ready()
    (undisturbed,), (saying,) = faults.say((QUESTIONS[1], 4))
    await asyncio.wait_for(saying, SECONDS)
    faults.answers[undisturbed.text, undisturbed.seed] = undisturbed.reply["answer"]
    (said,), (saying,) = faults.say((QUESTIONS[1], 4))
    hold = faults.desk.hold("generate_answer", "middle", said.conversation)
    stop = await asyncio.wait_for(hold.reached(), SECONDS)
    worker = faults.worker(stop.pid)
    hung = faults.engine_of(worker)
    hung.suspend()
    hung_at = time.monotonic()
    hold.go_on()
    await asyncio.wait_for(saying, SECONDS)
    # it is looked at four times in that time, and its last token may have been half a second old
    assert said.answered_at - hung_at > HANG_SECONDS * 0.75
    assert said.again == []
    assert not (await look_at(faults, [said])).wrong
    generated = next(step for step in said.reply["steps"] if step["step"] == "generate_answer")
    assert generated["attempt"] > 1
    (resumed_at,) = [int(word) for word in generated["result"].partition("resumed at token ")[2].split()[:1]]
    assert resumed_at >= MIDDLE
    await faults.logged(worker, event="engine lost", fault=EngineHung.type)
    assert not psutil.pid_exists(hung.pid)
    assert faults.supervisor.pids[worker] == stop.pid
