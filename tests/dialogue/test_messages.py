"""What callers send is checked by name; what is said is told apart by its text alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dialogue.messages import DialogueStart, ResolveReview, Say, TurnKey, text_digest


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        (Say, {"message_id": "m", "text": ""}, "text"),
        (Say, {"message_id": "with space", "text": "hi"}, "message_id"),
        (Say, {"message_id": "m", "text": "hi", "temperature": float("nan")}, "temperature"),
        (Say, {"message_id": "m", "text": "hi", "temperature": 2.1}, "temperature"),
        (Say, {"message_id": "m", "text": "hi", "colour": "red"}, "colour"),
        (DialogueStart, {}, "question or messages"),
        (DialogueStart, {"question": "a", "messages": [{"role": "user", "content": "b"}]}, "not both"),
        (DialogueStart, {"messages": [{"role": "assistant", "content": "b"}]}, "role user"),
        (ResolveReview, {"turn": 1, "decision": "edit", "by": "ann"}, "answer"),
        (ResolveReview, {"turn": 1, "decision": "approve", "by": "ann", "answer": "x"}, "answer"),
        (ResolveReview, {"turn": 0, "decision": "approve", "by": "ann"}, "turn"),
    ],
)
def test_a_wrong_field_is_named(kind: Any, fields: dict[str, Any], named: str) -> None:
    """The error tells which field it is about."""
    with pytest.raises(ValidationError) as error:
        kind.model_validate(fields)
    assert named in str(error.value)


@given(st.text(), st.text())
def test_digests_tell_texts_apart(one: str, other: str) -> None:
    """Equal exactly when the texts are, lone surrogates included."""
    assert (text_digest(one) == text_digest(other)) == (one == other)


def test_streams_sort_by_turn() -> None:
    """The token log's name of a turn holds its number in four digits."""
    assert TurnKey(conversation="c", turn=12, tenant="t").stream == "c/0012"
