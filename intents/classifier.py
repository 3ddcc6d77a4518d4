"""Recognises the intent of a message, with calibrated confidence, or says that it is out of scope."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version

from dialogue.steps import RecognisedIntent
from intents.features import Embed
from intents.intents_file import IntentsFile
from intents.language_model import LanguageModel

__all__ = ["Embed", "IntentClassifier", "content_of"]

_METHOD = "logistic regression, out of scope as a class, Platt over logits and neighbours; 1"
_ALTERNATIVES = 3


class IntentClassifier:
    """One :class:`LanguageModel` a language. ``content`` is what it was made of as canonical JSON (the intents with
    their sentences and templates, the method, the embedding), ``digest`` the SHA-256 of that, hex."""

    def __init__(
        self, file: IntentsFile, models: dict[str, LanguageModel], content: str, threshold: float | None
    ) -> None:
        self.file = file
        self.models = models
        self.content = content
        self.digest = hashlib.sha256(content.encode()).hexdigest()
        self._threshold = threshold

    @classmethod
    def train(
        cls,
        file: IntentsFile,
        embed: Embed | None = None,
        embed_languages: Sequence[str] = ("en",),
        *,
        embed_name: str = "",
        threshold: float | None = None,
    ) -> IntentClassifier:
        """Trains on the example sentences, in seconds.

        ``embed`` is asked for texts of ``embed_languages`` only; ``embed_name`` (best its digest) goes into the
        classifier's. ``threshold`` is the probability of being in scope below which a message is out of it;
        ``None``: chosen by cross-validation for each language.
        """
        models = {
            language: LanguageModel(
                list(file.sentences(language)), language, embed if language in embed_languages else None
            )
            for language in file.languages
        }
        content = content_of(file, threshold, embed_name if embed else None, embed_languages)
        return cls(file, models, content, threshold)

    def recognise(self, text: str, language: str) -> RecognisedIntent:
        """The intent of ``text``; one in a language without examples goes to the model surest of its own.

        ``confidence`` is the probability that the intent is right, or that the message is out of scope.
        """
        asked = [language] if language in self.models else list(self.models)
        opinions = {name: self.models[name].ask([text]) for name in asked}
        surest = max(opinions, key=lambda name: float(opinions[name].in_scope[0]))
        model, in_scope = self.models[surest], float(opinions[surest].in_scope[0])
        probabilities = opinions[surest].probabilities[0] * in_scope
        order: list[int] = probabilities.argsort()[::-1].tolist()
        ranked = [(model.intents[i], round(float(probabilities[i]), 4)) for i in order[: _ALTERNATIVES + 1]]
        if in_scope < (model.scope.threshold if self._threshold is None else self._threshold):
            return RecognisedIntent(
                intent=None,
                confidence=round(1 - in_scope, 4),
                route="template",
                reply=_in_language(self.file.out_of_scope.reply, language),
                alternatives=tuple(ranked[:_ALTERNATIVES]),
                model=self.digest,
            )
        name, confidence = ranked[0]
        intent = self.file.intents[name]
        template = self.file.templates[intent.template] if intent.template else None
        return RecognisedIntent(
            intent=name,
            confidence=confidence,
            route=intent.route,
            reply=None if template is None else _in_language(template, language),
            alternatives=tuple(ranked[1:]),
            model=self.digest,
        )


def content_of(
    file: IntentsFile, threshold: float | None, embed_name: str | None, embed_languages: Sequence[str]
) -> str:
    """What a classifier so made is kept as; ``embed_name``: ``None`` without an embedding."""
    embedding = None if embed_name is None else {"model": embed_name, "languages": sorted(embed_languages)}
    kept = {
        "intents": file.model_dump(mode="json"),
        "method": _METHOD,
        "scikit-learn": version("scikit-learn"),
        "threshold": threshold,
        "embedding": embedding,
    }
    return json.dumps(kept, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _in_language(texts: dict[str, str], language: str) -> str:
    """The text in that language, else in English, else whichever there is."""
    return texts.get(language) or texts.get("en") or next(iter(texts.values()))
