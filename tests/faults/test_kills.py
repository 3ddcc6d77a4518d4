"""One kill (SIGKILL) of each process: one reply, one row, a whole stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fault_site import PROCESSES, FaultSite
from tests.faults.kills import Kill, check_one_kill

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("faults"), pytest.mark.timeout(400)]

EACH = {
    "dialogue": Kill("dialogue", "return_answer", "middle", 1),
    "gpu": Kill("gpu", "generate_answer", "middle", 1),
    "engine": Kill("engine", "generate_answer", "middle", 1),
    "gateway": Kill("gateway", "retrieve_knowledge", "middle", 1),
    "temporal": Kill("temporal", "recognise_intent", "after", 1),
}


@pytest.mark.parametrize("process", PROCESSES)
async def test_a_killed_process_costs_the_caller_nothing(faults: FaultSite, process: str, tmp_path: Path) -> None:
    """The message gets the reply that it gets undisturbed, once."""
    await check_one_kill(faults, EACH[process], tmp_path)


@pytest.mark.parametrize("process", ["gpu", "engine"])
async def test_the_next_attempt_goes_on_from_the_logged_tokens(faults: FaultSite, process: str, tmp_path: Path) -> None:
    """What was made before the kill is not made again."""
    (said,) = await check_one_kill(faults, EACH[process], tmp_path)
    generated = next(step for step in said.reply["steps"] if step["step"] == "generate_answer")
    assert generated["attempt"] > 1
    assert "resumed at token" in generated["result"]
