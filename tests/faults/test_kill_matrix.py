"""Each process is killed (SIGKILL) before, in the middle of and after each step, with 1 and with 20 conversations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fault_site import FaultSite
from tests.faults.kills import MANY, Kill, check_one_kill, kills

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(600)]


@pytest.mark.parametrize("kill", [*kills(1), *kills(MANY)], ids=str)
async def test_a_kill_loses_and_doubles_nothing(faults: FaultSite, kill: Kill, tmp_path: Path) -> None:
    """Every message gets the reply that it gets undisturbed, and one row; its stream is whole; nothing waits."""
    await check_one_kill(faults, kill, tmp_path)
