"""A reader of server-sent events is cut off again and again, and the GPU worker is killed (SIGKILL) once meanwhile.

With ``Last-Event-ID`` the reader gets each event once: byte for byte what one gets who reads the turn from the log.
"""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import aclosing
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from policy.policy import Policy
from tests.faults.fault_site import QUESTIONS, FaultSite
from tests.faults.kills import ANSWERED_SECONDS, REACHED_SECONDS
from tests.faults.stops import MIDDLE, after_token
from tests.gateway.transports.driver import Got
from tests.gateway.transports.rest_driver import RestDriver

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("faults"), pytest.mark.timeout(400)]

CUTS = 10
TENANTS = ("default", "open")
"""One whose stream is gated, as temporal.yaml ships it, and one whose readers get each token as it is logged."""


async def _read(driver: RestDriver, place: dict[str, Any], said: dict[str, Any], draw: random.Random) -> list[Got]:
    """Says it and reads its events; leaves after a few of them, ``CUTS`` times, and comes back behind the last one."""
    got: list[Got] = []
    for size in chain((draw.randint(1, 3) for _ in range(CUTS)), repeat(math.inf)):
        coming = driver.resumed(after=got[-1].id, **place) if got else driver.streamed(**place, **said)
        async with aclosing(coming) as events:
            left = size
            async for event in events:
                got.append(event)
                if event.kind == "final":
                    return got
                left -= 1
                if not left:
                    break
    raise AssertionError("the stream ended before its final event")


async def check_cuts(faults: FaultSite, seed: int) -> None:
    """One turn, with cuts and the kill where ``seed`` has them; the readers of an even one are behind the gate."""
    draw, tenant = random.Random(seed), TENANTS[seed % 2]
    await faults.ready()
    driver = RestDriver(urlsplit(faults.site.gateway_url).port or 0)
    conversation = faults.site.new()
    place: dict[str, Any] = {"conversation": conversation, "message_id": "m1", "tenant": tenant}
    said: dict[str, Any] = {"content": draw.choice(QUESTIONS), "seed": seed, "on_disconnect": "continue"}
    hold = faults.desk.hold("generate_answer", after_token(draw.randint(1, MIDDLE)), conversation)
    reading = asyncio.create_task(_read(driver, place, said, draw))
    try:
        stop = await asyncio.wait_for(hold.reached(), REACHED_SECONDS)
        faults.kill(faults.worker(stop.pid))
        hold.go_on()
        got = await asyncio.wait_for(reading, ANSWERED_SECONDS)
    finally:
        reading.cancel()
    whole = [event async for event in driver.resumed(**place)]
    assert b"".join(event.raw for event in got) == b"".join(event.raw for event in whole)
    logged = await faults.site.token_log.read(f"{conversation}/0001")
    made = _shown([(each.kind, each.data) for each in logged])
    policy = Policy.build(faults.site.settings.policies["default"], Path())
    expected = made if tenant == "open" else policy.cover(made)
    assert _shown([(event.kind, event.data) for event in got]) == expected
    (row,) = await faults.site.rows(conversation, tenant)
    assert got[-1].data["answer"] == row.output_text
    assert [event.data["attempt"] for event in got if event.data.get("step") == "generate_answer"][-1] > 1


def _shown(events: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(data["text"] for kind, data in events if kind == "token")


async def test_a_reader_who_is_cut_off_loses_nothing(faults: FaultSite) -> None:
    await check_cuts(faults, 1)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 12))
async def test_wherever_the_reader_is_cut_off(faults: FaultSite, seed: int) -> None:
    """And wherever the worker dies."""
    await check_cuts(faults, seed)
