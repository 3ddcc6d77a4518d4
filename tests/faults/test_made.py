"""What was made twice is counted by its place in the answer."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.made import made_of, made_twice


def test_tokens_of_one_place_are_counted_again_only_within_their_candidate(tmp_path: Path) -> None:
    """Attempt 2 goes on from token 2 although the engine had made 4; another candidate and turn are their own."""
    lines = [
        ("c/0001/1/0/1", 0, 1), ("c/0001/1/0/1", 1, 3), ("c/0001/1/0/2", 2, 1), ("c/0001/1/0/2", 3, 2),
        ("c/0001/1/0/2", 5, 0), ("c/0001/1/1/1", 0, 2), ("c/0002/1/0/1", 0, 9),
    ]  # fmt: skip
    file = tmp_path / "made"
    file.write_text("".join(json.dumps([*line, 7.0]) + "\n" for line in lines))
    made = made_of(file, "c/0001")
    assert [(each.candidate, each.attempt, each.start, each.count) for each in made][3:5] == [
        (0, 2, 3, 2),
        (0, 2, 5, 0),
    ]
    assert made_twice(made) == 2
