"""What a reader is told of a turn's log: through the gate nothing forbidden, and what does not stand is withdrawn."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import pytest

from dialogue.steps import Verdict
from gateway.shown import Shown, StreamMode
from policy.policy import Policy
from policy.stream_gate import StreamGate
from records.token_log import StreamEvent

POLICY = Policy.build({}, Path())
REVIEW = ("step", {"step": "review_answer", "attempt": 1})
Logged = tuple[str, dict[str, Any]]


def thinking(text: str) -> Logged:
    return "reasoning", {"text": text}


def token(text: str) -> Logged:
    return "token", {"text": text}


def final(verdict: str) -> Logged:
    return "final", {"verdict": verdict, "answer": "No.", "reasoning": "Call ███.", "conversation": "conv-1"}


def told(*logged: Logged, mode: StreamMode = "gated") -> list[tuple[str, str]]:
    """Kind and text of each event."""
    shown = Shown(mode, lambda: StreamGate(POLICY), lambda *_: "")
    events = (StreamEvent(id_, kind, data, 0.0) for id_, (kind, data) in enumerate(logged, 1))
    return [(each.kind, each.data.get("text", "")) for event in events for each in shown.take(event)]


def text_of(events: list[tuple[str, str]], kind: str) -> str:
    return "".join(text for each, text in events if each == kind)


def kinds_of(events: list[tuple[str, str]]) -> list[str]:
    return [kind for kind, _ in events]


def test_the_thinking_is_gated_like_the_answer() -> None:
    """A number in it is covered across its pieces, and it ends before the answer begins."""
    said = told(thinking("Call 1398765"), thinking("4321 now. "), token("Ok."), REVIEW)
    assert text_of(said, "reasoning") == "Call ███ now. "
    assert text_of(said, "token") == "Ok."
    assert [kind for kind, _ in groupby(kinds_of(said))] == ["reasoning", "token", "step"]


def test_thinking_and_answer_are_two_texts() -> None:
    """What ends one is nothing that the other goes on."""
    said = told(thinking("Call 1398765"), token("4321 now."), REVIEW)
    assert (text_of(said, "reasoning"), text_of(said, "token")) == ("Call 1398765", "4321 now.")


@pytest.mark.parametrize("write", [thinking, token])
def test_a_number_is_covered_though_its_worker_died_within(write: Any) -> None:
    """The next attempt goes on in the same text."""
    again = ("step", {"step": "generate_answer", "attempt": 2})
    said = told(write("Call 1398765"), again, write("4321 now."), REVIEW)
    assert "".join(text for _, text in said) == "Call ███ now."


def test_a_new_try_is_a_new_text() -> None:
    """What was shown is withdrawn before it; what was held back never comes, and nothing is joined to it."""
    said = told(token("Call 1398765"), ("retry", {"try": 2, "why": "repetition"}), token("4321 now."), REVIEW)
    assert said[:3] == [("token", "Call "), ("retract", ""), ("retry", "")]
    assert text_of(said[3:], "token") == "4321 now."


def test_the_last_of_a_text_comes_before_its_review() -> None:
    """Not before a step that says nothing of the draft."""
    said = told(token("Call 139876"), ("step", {"step": "generate_answer", "attempt": 1}), REVIEW)
    assert said == [("token", "Call "), ("step", ""), ("token", "139876"), ("step", "")]


@pytest.mark.parametrize("verdict", get_args(Verdict))
@pytest.mark.parametrize(
    ("mode", "stands"), [("gated", {"pass", "mask"}), ("open", {"pass"}), ("after-review", get_args(Verdict))]
)
def test_what_does_not_stand_is_withdrawn(mode: StreamMode, stands: set[str], verdict: str) -> None:
    """Just before the end; a masked draft too where nothing masked it before it was seen."""
    said = told(token("Hello. "), REVIEW, final(verdict), mode=mode)
    assert kinds_of(said)[-1] == "final"
    assert kinds_of(said).count("retract") == (verdict not in stands)
    assert (kinds_of(said)[-2] == "retract") == (verdict not in stands)


@pytest.mark.parametrize("end", [final("block"), ("retry", {"try": 2, "why": "repetition"})])
def test_of_what_was_never_shown_nothing_is_withdrawn(end: Logged) -> None:
    """A draft that was held back whole is not on anybody's screen; a second draft is withdrawn by itself."""
    assert "retract" not in kinds_of(told(token("1398765"), end))
    said = told(token("One. "), ("retry", {"try": 2, "why": "repetition"}), end)
    assert kinds_of(said).count("retract") == 1


@pytest.mark.parametrize("mode", get_args(StreamMode))
def test_ids_only_grow(mode: StreamMode) -> None:
    """However many events one of the log becomes."""
    shown = Shown(mode, lambda: StreamGate(POLICY), lambda *_: "")
    logged = [thinking("Hm 1398765"), token("Call 1398765"), ("retry", {"try": 2, "why": ""}), token("No. "), REVIEW]
    logged.append(final("block"))
    ids = [
        each.id for id_, (kind, data) in enumerate(logged, 1) for each in shown.take(StreamEvent(id_, kind, data, 0))
    ]
    assert ids == sorted(set(ids))
