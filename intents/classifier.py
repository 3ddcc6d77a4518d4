"""Recognises the intent of a message, with calibrated confidence, or says that it is out of scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dialogue.steps import RecognisedIntent
from intents.intents_file import IntentsFile

__all__ = ["Embed", "IntentClassifier"]

Embed = Callable[[list[str]], Any]
"""Texts -> array of shape (texts, dimensions), float."""


class IntentClassifier:
    """Trained from an intents file. ``digest`` (sha256, hex) names the file and the method."""

    digest: str

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
        """``threshold`` is a probability of being in scope; ``None``: chosen by cross-validation."""
        raise NotImplementedError

    def recognise(self, text: str, language: str) -> RecognisedIntent:
        raise NotImplementedError
