"""What a start spent its time on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workers.timeline import Timeline


def test_steps_stand_between_the_start_and_now() -> None:
    """In seconds from the start of the process, those that end in an error too; steps may overlap."""
    timeline = Timeline()
    with timeline.step("outer"), timeline.step("inner"):
        pass
    with pytest.raises(ValueError, match="no"), timeline.step("failed"):
        raise ValueError("no")
    assert list(timeline.steps) == ["interpreter", "inner", "outer", "failed"]
    (outer, ended), (inner, within) = timeline.steps["outer"], timeline.steps["inner"]
    assert 0 < timeline.steps["interpreter"][1] <= outer <= inner <= within <= ended <= timeline.now()


def test_a_step_can_be_split() -> None:
    """Into parts that end with it, in their order; what they do not fill was before them."""
    timeline = Timeline()
    timeline.steps["engine"] = (1.0, 4.0)
    timeline.split("engine", {"imports": 1.5, "weights": 0.5})
    assert timeline.steps["engine: imports"] == (2.0, 3.5)
    assert timeline.steps["engine: weights"] == (3.5, 4.0)
    timeline.split("engine", {"longer than all": 9.0})
    assert timeline.steps["engine: longer than all"] == (1.0, 4.0)


def test_what_was_before_belongs_to_the_interpreter() -> None:
    """A process that did something else first has that in its time."""
    code = (
        "import time; time.sleep(0.5)\nfrom workers.timeline import Timeline\nprint(Timeline().steps['interpreter'][1])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(ended.stdout) < 30
