"""What a turn that waits for a person looks like."""

from __future__ import annotations

import io

from rich.console import Console

from cli.console import WIDTH
from cli.review_view import review_view
from dialogue.steps import ReceivedFile
from gateway.wire import Draft, Review

REVIEW = Review(
    conversation="conv-1",
    tenant="default",
    turn=2,
    message_id="m",
    question="Does this hold?",
    language="en",
    intent=None,
    since=1.0,
    draft=None,
)


def shown(review: Review) -> str:
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, markup=False, highlight=False).print(review_view(review))
    return stream.getvalue()


def test_files_stand_with_the_question() -> None:
    """Name, length and all of the text; what would move the cursor does not reach the terminal."""
    files = tuple(
        ReceivedFile(name=name, text=text, digest="0" * 64)
        for name, text in (("terms.txt", "Shoes: 30 days.\n[bold]Socks[/bold]: 14 days.\x1b[2J"), ("退货.md", "鞋子"))
    )
    lines = [line.rstrip() for line in shown(REVIEW.model_copy(update={"files": files})).splitlines()]
    at = lines.index("asked   Does this hold?")
    assert lines[at + 1 : at + 6] == [
        "  file 1 of 2  terms.txt  48 characters",
        "        Shoes: 30 days.",
        "        [bold]Socks[/bold]: 14 days.[2J",
        "  file 2 of 2  退货.md  2 characters",
        "        鞋子",
    ]


def test_without_files_only_what_there_is_is_told() -> None:
    """The draft with its reason, and how to decide."""
    text = shown(REVIEW.model_copy(update={"draft": Draft(answer="Yes.", reason="a rule")}))
    assert "file" not in text
    assert [line.split() for line in text.splitlines()[1:4]] == [
        ["asked", "Does", "this", "hold?"],
        ["draft", "Yes."],
        ["why", "a", "rule"],
    ]
    assert "  decide  parley reviews resolve conv-1 2 --by NAME HOW" in text


def test_how_to_decide_names_an_id_that_looks_like_an_option() -> None:
    """Last, where it is none: what decides comes before it."""
    text = shown(REVIEW.model_copy(update={"conversation": "-x"}))
    assert "  decide  parley reviews resolve --by NAME HOW -- -x 2" in text
    assert "HOW: --approve | --edit TEXT | --reject" in text
