"""A kept classifier judges exactly like the one that was trained, and anything else on disk is trained again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intents.kept
from intents.classifier import IntentClassifier
from intents.intents_file import IntentsFile
from intents.kept import kept_or_trained
from tests.intents.test_classifier import hashed

QUESTIONS = ("I would like to return these shoes", "where is my card", "hello", "who won the world cup", "zxcv", "")


@pytest.fixture
def file(mapping: dict[str, Any]) -> IntentsFile:
    return IntentsFile.model_validate(mapping)


class Counted:
    """An embedding that counts the texts it was asked for."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, texts: list[str]) -> Any:
        self.texts += len(texts)
        return hashed(texts)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digest of every classifier that is trained."""
    done: list[str] = []
    train: Callable[..., IntentClassifier] = IntentClassifier.train

    def counted(*given: Any, **named: Any) -> IntentClassifier:
        classifier = train(*given, **named)
        done.append(classifier.digest)
        return classifier

    monkeypatch.setattr(IntentClassifier, "train", counted)
    return done


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_it_judges_exactly_alike(file: IntentsFile, tmp_path: Path) -> None:
    """To the last bit, in both languages; no example is embedded again."""
    embed = Counted()
    trained = kept_or_trained(file, tmp_path, embed, ("en",), embed_name="hashed")
    before = embed.texts
    assert before > 0
    kept = kept_or_trained(file, tmp_path, embed, ("en",), embed_name="hashed")
    assert embed.texts == before
    assert kept.digest == trained.digest
    assert kept.models.keys() == trained.models.keys()
    for language, model in trained.models.items():
        one, other = model.ask(QUESTIONS), kept.models[language].ask(QUESTIONS)
        assert np.array_equal(one.probabilities, other.probabilities)
        assert np.array_equal(one.in_scope, other.in_scope)
        assert np.array_equal(model.held_out_logits, kept.models[language].held_out_logits)
        assert np.array_equal(model.labels, kept.models[language].labels)
    for text in (*QUESTIONS, "鞋子怎么退货", "法国的天气怎么样"):
        for language in ("en", "zh", "fr"):
            assert kept.recognise(text, language) == trained.recognise(text, language)


def test_without_an_embedding_too(file: IntentsFile, tmp_path: Path, trainings: list[str]) -> None:
    """Its digest is the one that training gives."""
    trained, kept = (kept_or_trained(file, tmp_path) for _ in range(2))
    assert trainings == [trained.digest] == [kept.digest] == [IntentClassifier.train(file).digest]


@pytest.mark.parametrize("place", [0, 40, 64, 70, 2000, -1])
def test_a_changed_byte_is_noticed(file: IntentsFile, tmp_path: Path, trainings: list[str], place: int) -> None:
    """Wherever it is: trained again, and kept anew."""
    trained = kept_or_trained(file, tmp_path)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert kept_or_trained(file, tmp_path).recognise("hello", "en") == trained.recognise("hello", "en")
    assert len(trainings) == 2
    assert only_file(tmp_path).read_bytes() == whole
    kept_or_trained(file, tmp_path)
    assert len(trainings) == 2


@pytest.mark.parametrize("length", [0, 64, 65, 3000])
def test_half_a_file_is_noticed(file: IntentsFile, tmp_path: Path, trainings: list[str], length: int) -> None:
    """As a full disk leaves it."""
    kept_or_trained(file, tmp_path)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    kept_or_trained(file, tmp_path)
    assert len(trainings) == 2


@pytest.mark.parametrize("change", ["intents", "embedding", "languages", "library", "code"])
def test_what_training_depends_on_makes_it_another(
    mapping: dict[str, Any],
    tmp_path: Path,
    trainings: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """It is trained, and the old one is not touched."""

    def get(name: str = "a", languages: tuple[str, ...] = ("en",)) -> None:
        kept_or_trained(IntentsFile.model_validate(mapping), tmp_path, hashed, languages, embed_name=name)

    get()
    old = only_file(tmp_path)
    if change == "intents":
        mapping["intents"]["greeting"]["examples"]["en"].append("greetings")
    elif change == "library":
        monkeypatch.setattr(intents.kept, "version", lambda library: f"{library} 99")
    elif change == "code":
        monkeypatch.setattr(intents.kept, "_own_code", lambda: "another")
    get("b" if change == "embedding" else "a", ("en", "zh") if change == "languages" else ("en",))
    assert len(trainings) == 2
    assert len(list(tmp_path.iterdir())) == 2
    assert old.is_file()


def test_the_threshold_is_no_part_of_it(file: IntentsFile, tmp_path: Path, trainings: list[str]) -> None:
    """Another one holds at once, and is part of the digest."""
    usual = kept_or_trained(file, tmp_path)
    nothing = kept_or_trained(file, tmp_path, threshold=1)
    assert trainings == [usual.digest]
    assert nothing.recognise("hello", "en").intent is None
    assert nothing.digest == IntentClassifier.train(file, threshold=1).digest != usual.digest


def test_a_folder_that_cannot_be_written_costs_time_only(file: IntentsFile, tmp_path: Path) -> None:
    """The classifier is trained all the same."""
    folder = tmp_path / "a file"
    folder.write_text("in the way")
    assert kept_or_trained(file, folder).recognise("hello", "en").intent == "greeting"


def test_only_the_last_few_stay(mapping: dict[str, Any], tmp_path: Path) -> None:
    """Edited intents do not fill the disk."""
    for number in range(6):
        mapping["intents"]["greeting"]["description"]["en"] = f"greeting {number}"
        kept_or_trained(IntentsFile.model_validate(mapping), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
