"""A GPU worker or its engine is killed (SIGKILL) inside a generation: what was logged is gone on from, to the same end.

At prefill, after the first token, the fourth, the last but one and the last; with greedy and with seeded sampling, each
beside the same turn undisturbed: the same text, the same token ids, nothing shown twice.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from replay.evidence import evidence
from replay.exact import history_exact
from replay.histories import live
from replay.story import tell, turn_of
from replay.token_runs import verify_tokens
from tests.faults.fault_site import FaultSite
from tests.faults.generations import Cut, check_one_cut, cuts

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("faults"), pytest.mark.timeout(400)]

TIMES = int(os.environ.get("FAULT_TIMES", "1"))
QUICK = (Cut("engine", "prefill", "seeded"), Cut("gpu", "last", "greedy"))


@pytest.mark.parametrize("cut", QUICK, ids=str)
async def test_a_cut_generation_ends_as_it_would_have(faults: FaultSite, cut: Cut, tmp_path: Path) -> None:
    """Where there is one worker: it is started again, or starts its engine again; and the turn's story tells it."""
    said = await check_one_cut(faults, cut, tmp_path)
    chain = await live(faults.site.client, said.conversation)
    (step,) = turn_of(tell(chain), 1).of("generate_answer")
    *lost, last = step.attempts
    assert len(lost) == step.attempt - 1 > 0
    assert all(each.failure and each.worker for each in lost)
    assert (last.failure, last.worker) == ("", step.worker)
    assert step.queue_seconds is not None
    assert [(await history_exact(run)).state for run in chain.runs] == ["same"]


@pytest.mark.full
@pytest.mark.parametrize("cut", cuts(TIMES), ids=str)
async def test_another_worker_goes_on_from_the_prefix(fault_pairs: FaultSite, cut: Cut, tmp_path: Path) -> None:
    """Where there are two of each; and a review makes the same tokens again, in the parts that they were made in."""
    said = await check_one_cut(fault_pairs, cut, tmp_path)
    if cut.place == "late":
        turn = turn_of(tell(await live(fault_pairs.site.client, said.conversation)), 1)
        async with evidence(fault_pairs.site.settings) as held:
            (exact,) = await verify_tokens(held, [turn], lambda *_: None)
        assert (exact.state, exact.unpromised) == ("same", ())
        assert 0 < exact.resumed_at < exact.tokens
