"""The classifier: right, calibrated, deterministic, quick, and able to say that it does not know."""

from __future__ import annotations

import functools
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from intents.classifier import IntentClassifier
from intents.features import Features
from intents.intents_file import IntentsFile, load
from intents.language_model import LanguageModel
from intents.untyped import logistic_regression

DEMO = Path(__file__).parents[2] / "examples" / "help"


@pytest.fixture
def file(mapping: dict[str, Any]) -> IntentsFile:
    return IntentsFile.model_validate(mapping)


@functools.cache
def trained(content: str) -> IntentClassifier:
    return IntentClassifier.train(IntentsFile.model_validate_json(content))


@pytest.fixture
def classifier(file: IntentsFile) -> IntentClassifier:
    """Trained once for all tests that only ask it."""
    return trained(file.model_dump_json())


def hashed(texts: list[str]) -> Any:
    """Stands for an embedding: unit vectors that sum hashed words, so that texts with shared words are near."""
    rows = np.zeros((len(texts), 64))
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            row += np.random.default_rng(seed).normal(size=64)
        row /= np.linalg.norm(row) + 1e-9
    return rows


@pytest.mark.parametrize(
    ("text", "language", "intent", "route"),
    [
        ("I would like to return these shoes", "en", "return_item", "retrieve"),
        ("my bank card was stolen!", "en", "card_lost", "retrieve"),
        ("can I speak to a human please", "en", "speak_to_person", "human"),
        ("hello there", "en", "greeting", "template"),
        ("鞋子怎么退货", "zh", "return_item", "retrieve"),
        ("我銀行卡丟了，要掛失", "zh", "card_lost", "retrieve"),
        ("转接人工服务", "zh", "speak_to_person", "human"),
        ("ＨＥＬＬＯ", "en", "greeting", "template"),
    ],
)
def test_a_message_is_recognised(
    classifier: IntentClassifier, text: str, language: str, intent: str, route: str
) -> None:
    """In both languages, whatever the script, case and width, with its route and template."""
    found = classifier.recognise(text, language)
    assert (found.intent, found.route) == (intent, route)
    assert found.reply == (classifier.file.templates["greeting"][language] if route == "template" else None)
    assert all(name != intent and p <= found.confidence for name, p in found.alternatives)


@pytest.mark.parametrize(
    ("text", "language", "reply"),
    [
        ("who is the president of France", "en", "I only know about our shop."),
        ("zxcv qwerty", "en", "I only know about our shop."),
        ("法国的天气怎么样", "zh", "我只了解本店的事情。"),
        ("", "en", "I only know about our shop."),
        ("quelle heure est-il", "fr", "I only know about our shop."),
    ],
)
def test_a_message_out_of_scope_gets_the_reply(
    classifier: IntentClassifier, text: str, language: str, reply: str
) -> None:
    """No intent, the fixed reply in the language, and how sure that is."""
    found = classifier.recognise(text, language)
    assert found.intent is None
    assert (found.route, found.reply) == ("template", reply)
    assert found.confidence > 0.3


def test_the_threshold_may_be_set(file: IntentsFile) -> None:
    """At 0 everything is in scope, at 1 nothing is; the digest tells them apart."""
    everything, nothing = IntentClassifier.train(file, threshold=0), IntentClassifier.train(file, threshold=1)
    assert everything.recognise("zxcv qwerty", "en").intent is not None
    assert nothing.recognise("I lost my card", "en").intent is None
    assert everything.digest != nothing.digest


def test_training_twice_gives_the_same(file: IntentsFile) -> None:
    """Same digest and the same confidence to the last digit."""
    one, other = IntentClassifier.train(file, hashed), IntentClassifier.train(file, hashed)
    assert one.digest == other.digest
    for text, language in (("return shoes", "en"), ("卡丢了", "zh"), ("nonsense", "en")):
        assert one.recognise(text, language) == other.recognise(text, language)
    assert one.recognise("hi", "en").model == one.digest == hashlib.sha256(one.content.encode()).hexdigest()


def test_the_digest_names_file_and_embedding(file: IntentsFile, mapping: dict[str, Any]) -> None:
    """Another sentence, another embedding: another digest."""
    mapping["intents"]["greeting"]["examples"]["en"].append("howdy")
    digests = {
        IntentClassifier.train(file).digest,
        IntentClassifier.train(file, hashed, embed_name="a").digest,
        IntentClassifier.train(file, hashed, embed_name="b").digest,
        IntentClassifier.train(IntentsFile.model_validate(mapping)).digest,
    }
    assert len(digests) == 4


def test_an_embedding_is_asked_in_its_languages_only(file: IntentsFile) -> None:
    """A model that knows no Chinese never sees any."""
    seen: list[str] = []

    def embed(texts: list[str]) -> Any:
        seen.extend(texts)
        return hashed(texts)

    classifier = IntentClassifier.train(file, embed, ("en",))
    classifier.recognise("我要退货", "zh")
    classifier.recognise("return shoes", "en")
    assert seen
    assert all(text.isascii() for text in seen)


def test_without_examples_out_of_scope_it_still_doubts(mapping: dict[str, Any]) -> None:
    """The intents' own sentences show what a sure score looks like."""
    mapping["out_of_scope"]["examples"] = {}
    classifier = IntentClassifier.train(IntentsFile.model_validate(mapping))
    assert classifier.recognise("I lost my card", "en").intent == "card_lost"
    assert classifier.recognise("zxcv qwerty", "en").intent is None


def test_two_intents_are_enough() -> None:
    """The smallest file there can be, with and without sentences out of scope."""
    pairs: list[tuple[str, str | None]] = [(f"red thing {i}", "red") for i in range(5)]
    pairs += [(f"blue object {i}", "blue") for i in range(5)]
    for more in ([], [(f"unrelated words here {i}", None) for i in range(5)]):
        model = LanguageModel([*pairs, *more], "en")
        opinion = model.ask(["a red thing", "a blue object"])
        assert [model.intents[i] for i in opinion.probabilities.argmax(axis=1)] == ["red", "blue"]
        assert np.allclose(opinion.probabilities.sum(axis=1), 1)


def test_training_in_the_spanned_space_is_the_plain_regression(file: IntentsFile) -> None:
    """The logits are those that the same regression finds over all features."""
    pairs = list(file.sentences("en"))
    model = LanguageModel(pairs, "en")
    features = Features([sentence for sentence, _ in pairs], "en", None)
    rows = features.rows([sentence for sentence, _ in pairs])
    coefficients, intercepts = logistic_regression(rows, model.labels, inverse_penalty=10.0)
    asked = ["return my shoes", "hello", "weather today", "my card is lost"]
    logits = np.asarray(features.rows(asked) @ coefficients.T) + intercepts
    assert np.allclose(model.ask(asked).probabilities, model.probabilities(logits), atol=0.02)


def test_a_choice_of_landmarks_comes_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """With twice as many sentences as landmarks, nearly as many are recognised."""
    pairs = list(load(DEMO / "intents.yaml").sentences("zh"))
    exact = LanguageModel(pairs, "zh")
    monkeypatch.setattr("intents.language_model._LANDMARKS", len(pairs) // 2)
    near = LanguageModel(pairs, "zh")
    right, nearly = ((m.held_out_logits.argmax(axis=1) == m.labels).mean() for m in (exact, near))
    assert nearly > right - 0.15


@pytest.fixture(scope="module")
def demo() -> tuple[IntentClassifier, float]:
    began = time.process_time()
    classifier = IntentClassifier.train(load(DEMO / "intents.yaml"))
    return classifier, time.process_time() - began


@pytest.mark.parametrize(("language", "right", "rejected"), [("en", 0.85, 0.7), ("zh", 0.9, 0.6)])
def test_the_demo_s_held_out_sentences_are_recognised(
    demo: tuple[IntentClassifier, float], language: str, right: float, rejected: float
) -> None:
    """Without any embedding; with one English is better still (evals/intents.py)."""
    classifier, _ = demo
    examples = yaml.safe_load((DEMO / "intents-heldout.yaml").read_text("utf-8"))["examples"]
    mine = [example for example in examples if example["lang"] == language]
    found = [classifier.recognise(example["text"], language) for example in mine]
    hits = np.array([f.intent == e["intent"] for f, e in zip(found, mine, strict=True)])
    inside = np.array([e["intent"] is not None for e in mine])
    assert hits[inside].mean() >= right
    assert hits[~inside].mean() >= rejected
    confidence = np.array([f.confidence for f in found])
    assert abs(confidence.mean() - hits.mean()) < 0.12, "confidence is how often it is right"


def test_the_demo_is_trained_in_seconds_and_asked_in_milliseconds(demo: tuple[IntentClassifier, float]) -> None:
    """So that training at start needs no cache."""
    classifier, seconds = demo
    assert seconds < 15
    began = time.process_time()
    for _ in range(20):
        classifier.recognise("How long do I have to send back shoes I bought online?", "en")
    assert (time.process_time() - began) / 20 < 0.05
