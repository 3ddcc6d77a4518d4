"""What the check of an intents file says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from intents.advice import check


def texts(path: Path, kind: str) -> str:
    return "\n".join(remark.text for remark in check(path) if remark.kind == kind)


def test_a_file_that_cannot_be_used_is_the_only_remark(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """A problem, with its line."""
    mapping["intents"]["greeting"]["route"] = "nowhere"
    remarks = check(written(mapping))
    assert [remark.kind for remark in remarks] == ["problem"]
    assert "no such route" in remarks[0].text


def test_counts_and_accuracy_are_told_by_language(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """And few sentences are advised against."""
    path = written(mapping)
    facts = texts(path, "fact")
    assert "en: 28 sentences of 4 intents, 8 out of scope" in facts
    assert "zh: 28 sentences of 4 intents, 8 out of scope" in facts
    assert facts.count("are recognised by a model that has not seen them") == 2
    assert "greeting: 7 sentences in zh" in texts(path, "advice")


def test_near_duplicates_and_repeats_are_named(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """Two intents that share almost a sentence; one intent that has a sentence twice."""
    mapping["intents"]["greeting"]["examples"]["en"] += ["I lost my cards", "HI"]
    advice = texts(written(mapping), "advice")
    assert "'I lost my card' (card_lost) and 'I lost my cards' (greeting) are nearly the same" in advice
    assert "greeting: 'hi' stands 2 times in en" in advice


def test_confused_intents_are_named(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """Two intents whose sentences are of one kind."""
    words = ["box", "bag", "coat", "hat", "shoe", "sock", "belt", "scarf", "glove", "tie"]
    for name, half in (("one", words[::2]), ("two", words[1::2])):
        sentences = [f"please could you show me the {word}" for word in half]
        mapping["intents"][name] = {"route": "generate", "examples": {"en": sentences}}
    advice = texts(written(mapping), "advice")
    assert "sentences of one are taken for two" in advice
    assert "one: no sentences in zh, so it is never recognised there" in advice


def test_an_unused_template_is_named(mapping: dict[str, Any], written: Callable[[Any], Path]) -> None:
    """It may be a spelling mistake."""
    mapping["templates"]["bye"] = {"en": "Bye"}
    assert "templates.bye: no intent uses it" in texts(written(mapping), "advice")
