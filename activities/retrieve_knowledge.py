"""Step 3: the passages that may answer, from the current snapshot."""

from __future__ import annotations

import asyncio

from temporalio import activity

from dialogue.steps import RetrievedKnowledge, RetrieveKnowledge
from knowledge_base.knowledge import KnowledgeBase

__all__ = ["RetrieveKnowledgeStep"]


class RetrieveKnowledgeStep:
    """``passages`` is how many a question gets at most."""

    def __init__(self, knowledge: KnowledgeBase, passages: int) -> None:
        self._knowledge = knowledge
        self._passages = passages

    @activity.defn(name="retrieve_knowledge")
    async def retrieve_knowledge(self, request: RetrieveKnowledge) -> RetrievedKnowledge:
        """Raises KnowledgeMissing and KnowledgeCorrupt."""
        limit = request.limit or self._passages
        return await asyncio.to_thread(self._knowledge.search, request.text, request.language, limit)
