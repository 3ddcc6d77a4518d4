"""What ``parley intents check FILE`` says: whether the file can be used, and what would make it better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dialogue.faults import IntentsFault
from intents.classifier import IntentClassifier
from intents.features import Embed
from intents.intents_file import IntentsFile, load, same_sentence_key
from intents.language_model import LanguageModel
from intents.untyped import cosines, tfidf

__all__ = ["Remark", "check"]

_GOOD_EXAMPLES = 15
_NEARLY_THE_SAME = 0.9
_CONFUSED_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Remark:
    """``problem``: the file cannot be used. ``advice``: it could be better. ``fact``: a figure to know."""

    kind: Literal["problem", "advice", "fact"]
    text: str


def check(path: Path, embed: Embed | None = None, embed_languages: Sequence[str] = ("en",)) -> list[Remark]:
    """Remarks on the file, problems first; trains on it to see which intents are confused."""
    try:
        file = load(path)
    except IntentsFault as fault:
        return [Remark("problem", fault.message)]
    classifier = IntentClassifier.train(file, embed, embed_languages)
    remarks = [*_counts(file), *_missing(file), *_repeated(file)]
    for language, model in classifier.models.items():
        sentences = list(file.sentences(language))
        remarks += [*_near_duplicates(sentences, language), *_confusions(model, language)]
    return sorted(remarks, key=lambda remark: remark.kind == "fact")


def _counts(file: IntentsFile) -> Iterator[Remark]:
    for language in file.languages:
        inside = [name for _, name in file.sentences(language) if name is not None]
        outside = len(file.out_of_scope.examples.get(language, ()))
        yield Remark(
            "fact",
            f"{language}: {len(inside)} sentences of {len(set(inside))} intents, {outside} out of scope",
        )
        for name, count in Counter(inside).items():
            if count < _GOOD_EXAMPLES:
                yield Remark("advice", f"{name}: {count} sentences in {language}; {_GOOD_EXAMPLES} or more are better")
        if outside < _GOOD_EXAMPLES:
            yield Remark(
                "advice",
                f"out_of_scope: {outside} sentences in {language}; with 50 or more, off-topic messages are told apart",
            )


def _missing(file: IntentsFile) -> Iterator[Remark]:
    for name, intent in file.intents.items():
        for language in file.languages:
            if not intent.examples.get(language):
                yield Remark("advice", f"{name}: no sentences in {language}, so it is never recognised there")
    used = {intent.template for intent in file.intents.values()}
    for template in file.templates:
        if template not in used:
            yield Remark("advice", f"templates.{template}: no intent uses it")
    for language in file.languages:
        if not file.out_of_scope.reply.get(language):
            yield Remark("advice", f"out_of_scope.reply: no text in {language}; another language's is used")


def _repeated(file: IntentsFile) -> Iterator[Remark]:
    for language in file.languages:
        seen = Counter((name, same_sentence_key(sentence)) for sentence, name in file.sentences(language))
        for (name, key), times in seen.items():
            if times > 1:
                yield Remark("advice", f"{name or 'out_of_scope'}: {key!r} stands {times} times in {language}")


def _near_duplicates(sentences: Sequence[tuple[str, str | None]], language: str) -> Iterator[Remark]:
    """Sentences of two intents that are almost the same, by their characters."""
    size = (1, 2) if language in ("zh", "ja", "th") else (2, 4)
    keys = [same_sentence_key(sentence) for sentence, _ in sentences]
    rows = tfidf(keys, analyzer="char", ngram_range=size).transform(keys)
    for one, other in np.argwhere(np.triu(cosines(rows, rows), 1) >= _NEARLY_THE_SAME).tolist():
        (first, here), (second, there) = sentences[one], sentences[other]
        if here != there:
            yield Remark(
                "advice",
                f"{first!r} ({here or 'out_of_scope'}) and {second!r} ({there or 'out_of_scope'}) are nearly the same",
            )


def _confusions(model: LanguageModel, language: str) -> Iterator[Remark]:
    """Cross-validated: which intents' sentences are taken for another's."""
    names = [*model.intents, "out_of_scope"]
    guessed = model.held_out_logits.argmax(axis=1)
    right = float((guessed == model.labels).mean())
    yield Remark("fact", f"{language}: {right:.1%} of the sentences are recognised by a model that has not seen them")
    wrong = Counter((a, b) for a, b in zip(model.labels.tolist(), guessed.tolist(), strict=True) if a != b)
    for (truth, guess), times in wrong.most_common(_CONFUSED_PAIRS):
        if times > 1:
            yield Remark(
                "advice",
                f"{language}: {times} sentences of {names[truth]} are taken for {names[guess]}; set them apart",
            )
