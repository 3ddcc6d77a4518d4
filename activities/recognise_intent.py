"""Step 2: what is asked for, how sure that is, and the way the turn takes."""

from __future__ import annotations

import asyncio

from temporalio import activity

from dialogue.steps import RecognisedIntent, RecogniseIntent
from intents.classifier import IntentClassifier

__all__ = ["RecogniseIntentStep"]


class RecogniseIntentStep:
    def __init__(self, classifier: IntentClassifier) -> None:
        self._classifier = classifier

    @activity.defn(name="recognise_intent")
    async def recognise_intent(self, request: RecogniseIntent) -> RecognisedIntent:
        return await asyncio.to_thread(self._classifier.recognise, request.text, request.language)
