"""The intents file: read, and refused with the line and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialogue.faults import IntentsFault
from intents.intents_file import load, same_sentence_key

Change = Callable[[dict[str, Any]], Any]


def test_a_good_file_is_read(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """Languages and sentences are those of the file; out-of-scope sentences have no intent."""
    file = load(written(mapping))
    assert file.languages == ("en", "zh")
    pairs = dict(file.sentences("zh"))
    assert pairs["我要退货"] == "return_item"
    assert pairs["讲个笑话"] is None


def test_the_digest_is_of_the_content(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """A comment changes nothing, a sentence does."""
    path = written(mapping)
    digest = load(path).digest
    path.write_text("# a comment\n" + path.read_text("utf-8"), encoding="utf-8")
    assert load(path).digest == digest
    mapping["intents"]["greeting"]["examples"]["en"].append("howdy")
    assert load(written(mapping)).digest != digest


def change(*keys: Any, to: Any) -> Change:
    def apply(mapping: dict[str, Any]) -> None:
        place: Any = mapping
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            change("intents", "card_lost", "route", to="retreive"),
            r"card_lost\.route: no such route 'retreive'; it is r",
        ),
        (change("intents", "greeting", "template", to=None), r"greeting\.template: is missing"),
        (change("intents", "greeting", "template", to="bye"), r"there is no template 'bye' .*there: greeting"),
        (change("intents", "card_lost", "template", to="greeting"), r"card_lost\.template: .*route is retrieve"),
        (change("templates", "greeting", to={"en": "Hi"}), r"templates\.greeting: has no text in 'zh'"),
        (change("intents", "card_lost", "examples", "zh", to=["卡丢了"] * 4), r"examples\.zh: has 4 sentences"),
        (change("intents", "card_lost", "examples", to={}), r"card_lost\.examples: has no sentences"),
        (change("intents", "card_lost", "exampels", to={}), r"card_lost\.exampels: no such key"),
        (change("intents", "card_lost", "examples", "en", 0, to="HELLO!"), r"'hello' stands under card_lost too"),
        (change("out_of_scope", "examples", "zh", 0, to="我要退货。"), r"'我要退货。' stands under return_item too"),
        (change("out_of_scope", "reply", to={}), r"out_of_scope\.reply: has no text"),
        (change("version", to=2), r"version: .*1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    mapping: dict[str, Any], written: Callable[[Any], Path], spoil: Change, complaint: str
) -> None:
    """One line: file, line, key, what is wrong, and the way out."""
    spoil(mapping)
    with pytest.raises(IntentsFault, match=rf"intents\.yaml:\d+: .*{complaint}") as fault:
        load(written(mapping))
    assert "\n" not in fault.value.message


def test_the_line_is_the_right_one(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """Where the offending key stands."""
    mapping["intents"]["card_lost"]["route"] = "nowhere"
    path = written(mapping)
    lines = path.read_text("utf-8").splitlines()
    with pytest.raises(IntentsFault) as fault:
        load(path)
    number = int(fault.value.message.split(":")[1])
    assert lines[number - 1].strip() == "route: nowhere"


@pytest.mark.parametrize(
    ("text", "complaint"), [("intents: [", "not YAML"), ("- a", "intents.yaml"), ("", "intents.yaml")]
)
def test_a_file_that_is_no_mapping_is_refused(written: Callable[[Any], Path], text: str, complaint: str) -> None:
    """Broken YAML, a list, an empty file."""
    with pytest.raises(IntentsFault, match=complaint):
        load(written(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the setting that names it."""
    with pytest.raises(IntentsFault, match=r"nowhere\.yaml: no such file; correct intents\.file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(("one", "other"), [("Hello!", "hello"), ("我要 退货。", "我要退货"), ("ＡＢＣ", "abc")])
def test_the_same_sentence_is_noticed(one: str, other: str) -> None:
    """Case, width, spaces and punctuation do not make another sentence."""
    assert same_sentence_key(one) == same_sentence_key(other)
