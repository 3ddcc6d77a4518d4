"""Step 3: the passages that may answer, from the current snapshot."""

from __future__ import annotations

import asyncio
import re

from temporalio import activity

from dialogue.steps import RetrievedKnowledge, RetrieveKnowledge
from knowledge_base.knowledge import KnowledgeBase
from policy.masking import MASK

__all__ = ["RetrieveKnowledgeStep"]


_CLAUSE = re.compile(r"[^,，。;；!！?？\n]*[,，。;；!！?？\n]*")


def searchable(text: str) -> str:
    """The text without the clauses in which something was masked, unless nothing else is left.

    "My number is ███, how long …?" asks about neither numbers nor phones.
    """
    clauses: list[str] = _CLAUSE.findall(text)
    kept = "".join(clause for clause in clauses if MASK not in clause).strip()
    return kept or text


class RetrieveKnowledgeStep:
    """``passages`` is how many a question gets at most."""

    def __init__(self, knowledge: KnowledgeBase, passages: int) -> None:
        self._knowledge = knowledge
        self._passages = passages

    @activity.defn(name="retrieve_knowledge")
    async def retrieve_knowledge(self, request: RetrieveKnowledge) -> RetrievedKnowledge:
        """Raises KnowledgeMissing and KnowledgeCorrupt."""
        limit = request.limit or self._passages
        return await asyncio.to_thread(self._knowledge.search, searchable(request.text), request.language, limit)
