"""What callers send is checked by name; what is said is told apart by its text alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dialogue.messages import DialogueStart, ResolveReview, Say, TextFile, TurnKey, message_digest, text_digest


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        (Say, {"message_id": "m", "text": ""}, "text"),
        (Say, {"message_id": "with space", "text": "hi"}, "message_id"),
        (Say, {"message_id": "m", "text": "hi", "temperature": float("nan")}, "temperature"),
        (Say, {"message_id": "m", "text": "hi", "temperature": 2.1}, "temperature"),
        (Say, {"message_id": "m", "text": "hi", "colour": "red"}, "colour"),
        (Say, {"message_id": "m", "text": "hi", "files": [{"name": "a\nb", "text": "x"}]}, "one line"),
        (Say, {"message_id": "m", "text": "hi", "files": [{"name": "a\u202eb", "text": "x"}]}, "control characters"),
        (Say, {"message_id": "m", "text": "hi", "files": [{"name": " ", "text": "x"}]}, "files.0.name"),
        (Say, {"message_id": "m", "text": "hi", "files": [{"name": "a", "text": ""}]}, "files.0.text"),
        (Say, {"message_id": "m", "text": "hi", "files": [{"name": "a", "text": "x"}] * 5}, "at most 4"),
        (
            Say,
            {"message_id": "m", "text": "hi", "files": [{"name": "a", "text": "x" * 50_001}] * 2},
            "100002 characters",
        ),
        (DialogueStart, {"question": "a", "files": [{"name": "a", "text": "x", "size": 1}]}, "files.0.size"),
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


def test_a_message_without_files_is_sent_as_before_there_were_any() -> None:
    """The field is left out, and the digest is the text's; with a file both tell of it."""
    file = TextFile(name="terms.txt", text="Thirty days.")
    bare, with_file = (Say(message_id="m", text="hi", files=files) for files in ((), (file,)))
    assert "files" not in bare.model_dump()
    assert Say.model_validate_json(with_file.model_dump_json()) == with_file
    assert message_digest("hi") == text_digest("hi")
    others = [file.model_copy(update={"name": "other.txt"}), file.model_copy(update={"text": "Forty days."})]
    assert (
        len({message_digest("hi", files) for files in ((), (file,), (file, file), *((each,) for each in others))}) == 5
    )


def test_streams_sort_by_turn() -> None:
    """The token log's name of a turn holds its number in four digits."""
    assert TurnKey(conversation="c", turn=12, tenant="t").stream == "c/0012"
