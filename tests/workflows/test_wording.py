"""What stands in a turn's table of steps about a draft."""

from __future__ import annotations

import shlex

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dialogue.messages import TurnKey
from dialogue.steps import Candidate, GeneratedAnswer, Usage
from dialogue.turn import TurnSummary
from workflows.ladder import _with_kept
from workflows.wording import current_details, describe_draft, replay_command, review_command


def draft(**given: object) -> GeneratedAnswer:
    usual = {"answer": "a", "finish_reason": "stop", "usage": Usage(completion_tokens=9), "model": "m"}
    return GeneratedAnswer.model_validate({**usual, "model_digest": "d", **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "9 tokens · stop"),
        ({"reasoning_truncated": True}, "9 tokens · stop · reasoning truncated"),
        ({"reasoning_bypassed": True}, "9 tokens · stop · reasoning bypassed"),
        ({"finish_reason": "wrong_language", "poor": "wrong_language"}, "9 tokens · wrong language"),
        ({"resumed_at": 4, "reasoning_truncated": True}, "resumed at token 4 · 9 tokens · stop · reasoning truncated"),
    ],
)
def test_a_draft_says_how_it_ended_and_how_it_thought(given: dict[str, object], told: str) -> None:
    """The finish, or what was poor; whether the thinking was cut short or left out."""
    assert describe_draft(draft(**given), "") == told


def test_the_kept_candidate_brings_its_own_marks() -> None:
    """When the review keeps another candidate, the draft tells of that one's thinking."""
    candidates = (
        Candidate(answer="a", finish_reason="stop", reasoning_bypassed=True),
        Candidate(answer="b", finish_reason="stop", reasoning_truncated=True),
    )
    kept = _with_kept(draft(candidates=candidates, reasoning_bypassed=True), 1)
    assert (kept.answer, kept.reasoning_truncated, kept.reasoning_bypassed) == ("b", True, False)


def test_the_details_hold_the_words_as_they_are() -> None:
    """What a user writes is text there, whatever it would mean in Markdown; a chat page is linked where it is known."""
    key = TurnKey(conversation="conv-1", turn=2, tenant="acme")
    asked = "a|b [c](http://x)\n<img> `d` **e**"
    turn = TurnSummary(
        turn=2, message_id="m", text_digest="", question=asked, answer="", verdict="human", state="waiting"
    )
    told = current_details(key, [turn], "https://chat.example")
    assert r"| 2 | a\|b \[c\]\(http\://x\) \<img\> \`d\` \*\*e\*\* |" in told
    linked = turn.model_copy(update={"question": "at https://x.example/a &amp; ftp://y"})
    assert r"| 2 | at https\://x.example/a \&amp; ftp\://y |" in current_details(key, [linked])
    assert "Waiting for a person: turn 2." in told
    assert "`parley reviews show conv-1 2 --tenant acme`" in told
    assert told.endswith(
        "[Chat page](https://chat.example/?tenant=acme&conversation=conv-1)"
        " · Incident review: `parley replay show conv-1 --turn 2`"
    )
    assert "Chat page" not in current_details(key, [turn])


HOSTILE = "x` [pay here](https://evil.example) `$(id) '``; echo"


def inline(markdown: str) -> list[Token]:
    blocks = MarkdownIt().parse(markdown)
    return [token for block in blocks for token in block.children or ()]


def test_an_id_is_code_in_the_details_whatever_its_starter_wrote() -> None:
    """No link of theirs, and the command is one span: what is copied from it is the whole of it."""
    key = TurnKey(conversation=HOSTILE, turn=2, tenant="default")
    turn = TurnSummary(
        turn=2, message_id="m", text_digest="", question="?", answer="", verdict="human", state="waiting"
    )
    told = inline(current_details(key, [turn], "https://chat.example"))
    (link,) = [token.attrs["href"] for token in told if token.type == "link_open"]
    assert str(link).startswith("https://chat.example/?tenant=default&conversation=")
    shown = [token.content for token in told if token.type == "code_inline"]
    assert shown == [review_command("show", HOSTILE, 2, "default"), replay_command(HOSTILE, 2)]


def test_an_id_is_one_word_of_a_command() -> None:
    """A shell gives it back as it is: nothing of it is run, and none of it is an option."""
    assert shlex.split(review_command("resolve", HOSTILE, 2, "acme")) == [
        *("parley", "reviews", "resolve", HOSTILE, "2", "--tenant", "acme")
    ]
    assert shlex.split(replay_command(HOSTILE)) == ["parley", "replay", "show", HOSTILE]
    assert replay_command("--file=forged.json", 2) == "parley replay show --turn 2 -- --file=forged.json"


def test_an_id_of_several_lines_stays_on_one() -> None:
    """A paragraph's end would be the end of the code too; what no line shows is a replacement character."""
    key = TurnKey(conversation="a\n\n[pay here](https://evil.example)\x1b[2J\u202e", turn=1, tenant="default")
    told = inline(current_details(key, []))
    assert [token for token in told if token.type == "link_open"] == []
    assert replay_command("a\n\x1bb\u202e") == "parley replay show 'a\ufffd\ufffdb\ufffd'"
