"""The knowledge base as the settings place it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knowledge_base.knowledge import KnowledgeBase
    from settings.schema import Settings

__all__ = ["open_knowledge"]


def open_knowledge(settings: Settings) -> KnowledgeBase:
    """Raises ModelMissing where there is no such embedding model."""
    from knowledge_base.embedding import Embedder
    from knowledge_base.knowledge import KnowledgeBase
    from settings.layout import Layout

    embedding = settings.knowledge.embedding
    embedder = Embedder(embedding.model, embedding.languages)
    return KnowledgeBase(Layout.of(settings).knowledge, embedder, threshold=settings.knowledge.threshold)
