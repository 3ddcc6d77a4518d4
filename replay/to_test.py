"""Writes a regression test and its fixture from a recorded turn."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dialogue.faults import InvalidRequest
from replay.chain import Chain
from replay.regression import fixture_of
from replay.story import tell, turn_of
from replay.turns import Turn

__all__ = ["write_test"]

_TEST = '''"""Conversation {conversation}, turn {turn}: {said}. Written by `parley replay to-test`."""

import asyncio
from pathlib import Path

from replay.regression import Regression
{imports}
FIXTURE = Path(__file__).with_name("{fixture}")


def test_turn_{turn}_of_{slug}_replays() -> None:
    """Today's workflow code makes the recorded commands."""
    exact = asyncio.run(Regression.load(FIXTURE).history())
    assert exact.state == "same", exact.divergence or exact.why
'''
_REVIEW = '''

def test_turn_{turn}_of_{slug}_is_judged_{expect}() -> None:
    """The recorded draft, judged by today's policy."""
    reviewed = asyncio.run(Regression.load(FIXTURE).review(load()))
    assert reviewed.verdict == "{expect}", reviewed.reason
'''


def write_test(chain: Chain, number: int | None, folder: Path, *, expect: str | None = None) -> tuple[Path, Path]:
    """The paths of test and fixture. ``expect``: the verdict of the review that the test wants; else the recorded one.

    Raises NoSuchTurn, and InvalidRequest where a verdict is expected of a turn that was never reviewed, or a file of
    that name is there.
    """
    turn = turn_of(tell(chain), number)
    run = chain.runs[turn.run - 1]
    reviewed = _reviewed(turn)
    if expect is not None and reviewed is None:
        raise InvalidRequest(f"expect: turn {turn.turn} was never reviewed.", field="expect")
    slug = re.sub(r"\W+", "_", turn.conversation).strip("_").lower()
    test, fixture = folder / f"test_{slug}_turn_{turn.turn}.py", folder / f"{slug}_turn_{turn.turn}.json"
    for path in (test, fixture):
        if path.exists():
            raise InvalidRequest(f"out: {path} is there already. Name another folder, or remove it.", field="out")
    values = {
        "conversation": turn.conversation,
        "turn": turn.turn,
        "said": f"verdict {turn.verdict or turn.state}",
        "slug": slug,
        "fixture": fixture.name,
        "expect": expect or reviewed,
        "imports": "from settings.load import load\n" if reviewed else "",
    }
    text = _TEST.format(**values) + (_REVIEW.format(**values) if reviewed else "")
    folder.mkdir(parents=True, exist_ok=True)
    fixture.write_text(json.dumps(fixture_of(run, turn), ensure_ascii=False, indent=1) + "\n", "utf-8")
    test.write_text(text, "utf-8")
    return test, fixture


def _reviewed(turn: Turn) -> str | None:
    step = turn.last("review_answer")
    return step.reviewed.verdict if step is not None and step.reviewed is not None else None
