"""`python -m benchmarks peers`: what all are asked, how it is timed, and that each candidate answers it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import prepared
from benchmarks.peers import AIMS, aims
from benchmarks.peers_generate import _Told
from benchmarks.peers_servers import LLAMA, VLLM, heard
from benchmarks.peers_timing import Answered, closed, figures, opened
from benchmarks.peers_work import Work, answer_lengths, mixed, poisson_arrivals, prompt_lengths

_WORKS = [Work((1,), 4)] * 12


@pytest.mark.parametrize(
    "drawn", [answer_lengths, prompt_lengths, lambda count, seed: poisson_arrivals(1, count, seed)]
)
def test_a_seed_decides_what_is_drawn(drawn: Callable[[int, int], list[float]]) -> None:
    """The same again for the same one, something else for another."""
    assert drawn(50, 1) == drawn(50, 1)
    assert drawn(50, 1) != drawn(50, 2)


def test_lengths_are_unequal_within_their_bounds() -> None:
    """Answers: a log-normal, cut at 128, half of them below its median of 80. Prompts: as many short as long ones."""
    answers, prompts = answer_lengths(4000, 1), prompt_lengths(4000, 1)
    assert (min(answers), max(answers)) == (8, 128)
    assert statistics.median(answers) == pytest.approx(80, abs=3)
    assert sum(length == 128 for length in answers) / 4000 == pytest.approx(0.28, abs=0.03)
    assert max(answer_lengths(100, 1, longest=16)) == 16
    assert (min(prompts), max(prompts)) == pytest.approx((20, 300), abs=1)
    assert statistics.median(prompts) == pytest.approx((20 * 300) ** 0.5, rel=0.05)


def test_arrivals_are_a_poisson_process() -> None:
    """Their number is the rate's; gaps are spread as an exponential's, whose deviation is its mean."""
    moments = poisson_arrivals(rate=2.0, seconds=5000, seed=1)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert moments == sorted(moments)
    assert max(moments) < 5000
    assert len(moments) == pytest.approx(10_000, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.5, rel=0.05)


@pytest.mark.full
def test_works_have_texts_of_their_own() -> None:
    """No two begin alike, or a cache of prefixes would help; lengths may repeat in a cycle, texts do not."""
    works = mixed(prepared(), 24, 1, lengths_of=8)
    assert len({work.prompt[:8] for work in works}) == 24
    lengths = [(len(work.prompt), work.tokens) for work in works]
    assert lengths == lengths[:8] * 3
    assert works == mixed(prepared(), 24, 1, lengths_of=8)


def test_figures_are_those_of_what_came() -> None:
    """Of two answers, one of which ended by itself and came two tokens at once; gaps of both are one heap."""
    whole = Answered(Work((1,), 4), asked=1.0, heard=[1.5, 1.6, 1.7, 1.8], made=4, ended=1.8)
    early = Answered(Work((1,), 4), asked=2.0, heard=[2.1, 2.4], made=3, ended=2.4)
    told = figures([whole, early], seconds=2.0)
    assert (told["tokens"], told["tokens_per_second"], told["made_of_asked"]) == (7, 3.5, 0.875)
    assert told["first_token_ms"] == {"p50": 300.0, "p95": 480.0}  # 500 and 100
    assert told["between_tokens_ms"] == {"p50": 100.0, "p95": 270.0}  # 100 three times, 300
    assert figures([Answered(Work((1,), 4), 0.0)], 1.0)["first_token_ms"] is None


class _Room:
    """A candidate without a model: counts how many are in it at once, and lets each go when it is full or alone."""

    def __init__(self, size: int) -> None:
        self._size, self.inside, self.most = size, 0, 0
        self._full = asyncio.Event()

    async def ask(self, work: Work, tick: Callable[[], None]) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == self._size:
            self._full.set()
        await self._full.wait()
        tick()
        self.inside -= 1
        return work.tokens


async def test_so_many_are_in_flight_and_no_more() -> None:
    """Until all are answered, each once."""
    room = _Room(3)
    answered, seconds = await closed(room.ask, _WORKS, 3)
    assert room.most == 3
    assert sum(one.made for one in answered) == 48
    assert all(one.asked <= one.heard[0] <= one.ended for one in answered)
    assert max(one.ended for one in answered) - min(one.asked for one in answered) == pytest.approx(seconds, abs=0.1)


async def test_an_open_load_waits_for_nobody() -> None:
    """The twelfth comes though none of those before it was answered; all count from the moment they were meant for."""
    room, moments = _Room(12), [number / 100 for number in range(12)]
    answered, began = await opened(room.ask, _WORKS, moments)
    assert room.most == 12
    assert sorted(round(one.asked - began, 6) for one in answered) == moments
    assert min(one.ended for one in answered) - began >= moments[-1]


def test_a_batch_tells_no_token_behind_the_length_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The longest goes on alone; the first that ``generate`` gives is the prompts."""
    told = _Told([{"id": 7, "tokens": 1}, {"id": 8, "tokens": 2}])
    for _ in range(3):
        told.put(None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"made": [7, 8], "ended": [7]}, {"made": [8], "ended": [8]}]


def test_a_server_counts_its_own_tokens() -> None:
    """Text comes in choices, the count with the last event; comments and the end bring neither; an error is one."""
    assert heard('data: {"choices": [{"text": "a"}], "usage": null}') == ("a", None)
    assert heard('data: {"choices": [], "usage": {"completion_tokens": 5}}') == ("", 5)
    assert [heard(line) for line in ("", ": ping", "data: [DONE]")] == [("", None)] * 3
    with pytest.raises(RuntimeError, match="no room"):
        heard('data: {"error": {"message": "no room"}}')


def test_aims_take_the_best_of_each_side() -> None:
    """Ours in its best mode over the better server; the naive one's speed holds for any number; what was not measured
    is no ratio."""
    speeds = {
        ("generate, one at a time", 1): 10, ("ours, bf16", 1): 30, ("ours, bf16", 32): 300, ("ours, int8", 32): 200,
        ("llama.cpp Q4_1", 1): 60, ("llama.cpp Q4_1", 32): 100, ("vLLM bf16", 32): 150, ("vLLM bf16", 1): 90,
    }  # fmt: skip
    rows = [
        {"candidate": name, "in_flight": flight, "tokens_per_second": speed} for (name, flight), speed in speeds.items()
    ]
    reached = {(one["in_flight"], one["against"]): (one["ours"], one["ratio"]) for one in aims(rows)}
    assert reached == {
        (32, "vLLM bf16"): ("ours, bf16", 2.0),
        (1, "llama.cpp Q4_1"): ("ours, bf16", 0.5),
        (32, "generate, one at a time"): ("ours, bf16", 30.0),
    }
    assert len(AIMS) == 4


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_every_candidate_answers_all(repository: Path, tmp_path: Path) -> None:
    """All that is there, by itself and in whole turns; what is not there is named, on the screen and in the report."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "peers", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["peers"]
    absent = {
        name for name, variable in (("llama.cpp Q4_1", LLAMA), ("vLLM bf16", VLLM)) if not os.environ.get(variable)
    }
    assert report["left_out"].keys() == absent
    assert all(f"{name} is left out" in ended.stderr for name in absent)
    both = {(name, flight) for name in ("ours, bf16", "ours, int8", "ours, int4") for flight in (1, 2)}
    both |= {(name, flight) for name in {"llama.cpp Q4_1", "vLLM bf16"} - absent for flight in (1, 2)}
    naive = {("generate, one at a time", 1), ("generate, batches of 2", 2)}
    assert {(row["candidate"], row["in_flight"]) for row in report["rows"]} == naive | both
    for row in report["rows"]:
        assert row["made_of_asked"] == 1.0
        assert 0 < row["first_token_ms"]["p50"] <= row["first_token_ms"]["p95"]
        assert 0 < row["between_tokens_ms"]["p50"] <= row["between_tokens_ms"]["p95"]
    turns = report["turns"]
    assert turns["answers"] >= 2
    assert turns["tokens"] > turns["answers"]
    assert min(turns["to_engine"], turns["to_engine_with_all_cores"]) > 0
    assert "its engine alone" in ended.stdout
