"""Writes a regression test and its fixture from a recorded turn."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import get_args

from dialogue.faults import InvalidRequest
from dialogue.steps import ReviewedAnswer
from replay.chain import Chain
from replay.regression import fixture_of
from replay.story import tell, turn_of
from replay.turns import Turn

__all__ = ["write_test"]

_LONGEST = 60
"""Characters of a conversation's id in the names of files and tests."""

# Nothing of a history stands in these but numbers, its slug and a verdict: whoever starts a workflow chooses its id.
_TEST = '''"""Turn {turn} of {slug}: the fixture holds its id. Written by `parley replay to-test`."""

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

    Raises NoSuchTurn, and InvalidRequest where a verdict is expected of a turn that was never reviewed or is none that
    a review gives, a file of that name is there, or the folder cannot be written.
    """
    turn = turn_of(tell(chain), number)
    run = chain.runs[turn.run - 1]
    reviewed = _reviewed(turn)
    if expect is not None:
        _check(expect, turn, reviewed)
    slug = _slug(turn.conversation)
    test, fixture = folder / f"test_{slug}_turn_{turn.turn}.py", folder / f"{slug}_turn_{turn.turn}.json"
    for path in (test, fixture):
        if path.exists():
            raise InvalidRequest(f"out: {path} is there already. Name another folder, or remove it.", field="out")
    values = {
        "turn": turn.turn,
        "slug": slug,
        "fixture": fixture.name,
        "expect": expect or reviewed,
        "imports": "from settings.load import load\n" if reviewed else "",
    }
    text = _TEST.format(**values) + (_REVIEW.format(**values) if reviewed else "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fixture.write_text(json.dumps(fixture_of(run, turn), ensure_ascii=False, indent=1) + "\n", "utf-8")
        test.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest(
            f"out: {error.filename or folder} cannot be written ({error.strerror}). Name another folder.", field="out"
        ) from error
    return test, fixture


def _check(expect: str, turn: Turn, reviewed: str | None) -> None:
    verdicts = get_args(ReviewedAnswer.model_fields["verdict"].annotation)
    if expect not in verdicts:
        raise InvalidRequest(
            f"expect: a review gives no verdict {expect!r}. Name one of {', '.join(verdicts)}.", field="expect"
        )
    if reviewed is None:
        raise InvalidRequest(f"expect: turn {turn.turn} was never reviewed.", field="expect")


def _slug(conversation: str) -> str:
    """A name for Python and for a file system. Where it says less than the id, the id's digest stands behind it."""
    slug = re.sub("[^A-Za-z0-9]+", "_", conversation).strip("_").lower()
    if len(slug) <= _LONGEST and re.fullmatch("[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*", conversation):
        return slug
    digest = hashlib.sha256(conversation.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug[:_LONGEST].strip('_') or 'conversation'}_{digest[:8]}"


def _reviewed(turn: Turn) -> str | None:
    step = turn.last("review_answer")
    return step.reviewed.verdict if step is not None and step.reviewed is not None else None
