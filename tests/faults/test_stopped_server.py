"""The Temporal server stands still for a minute (SIGSTOP), as a frozen machine or a cut line would."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.checks import look_at
from tests.faults.fault_site import FaultSite
from tests.faults.traffic import traffic

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]

PEOPLE = 4
STOPPED_SECONDS = 60.0
SECONDS = 180.0


async def test_a_server_that_stood_still_for_a_minute_loses_nothing(faults: FaultSite) -> None:
    """Everything said before and during it is answered once; people go on talking after it."""
    await faults.ready()
    async with traffic(faults, PEOPLE, SECONDS) as going:
        await asyncio.wait_for(going.more(PEOPLE), SECONDS)
        with faults.stopped(faults.supervisor.pids["temporal"]):
            await asyncio.sleep(STOPPED_SECONDS)
        await asyncio.wait_for(going.more(2 * PEOPLE), SECONDS)
    found = await look_at(faults, going.said)
    assert not found.wrong
    assert (found.lost, found.doubled) == (0, 0)
