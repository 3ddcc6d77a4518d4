"""A question asked of a snapshot."""

from __future__ import annotations

from dialogue.steps import Passage, RetrievedKnowledge
from knowledge_base.embedding import Embedder
from knowledge_base.index import IndexedPassage, LanguageIndex
from knowledge_base.relevance import Evidence, relevance
from knowledge_base.snapshot import Snapshot

__all__ = ["search"]


def search(
    snapshot: Snapshot, embedder: Embedder, query: str, language: str, limit: int, threshold: float
) -> RetrievedKnowledge:
    """Up to ``limit`` passages whose score is at least ``threshold``, best first.

    Passages in the question's own language are taken alone where one of them reaches the threshold; only then are
    the other languages asked. Dense search is asked where the embedder knows the question's language and is the
    one that the snapshot was made with.
    """
    language = language.split("-")[0].lower()
    dense = embedder.knows(language) and snapshot.recipe.embedder == embedder.digest
    dense = dense and any(index.is_dense for index in snapshot.indices.values())
    vector = embedder.embed([query])[0] if dense and query.strip() else None
    best = 0.0
    found: list[Passage] = []
    for asked in sorted(snapshot.indices, key=lambda name: (name != language, name)):
        if found:
            break
        ranked = _ranked(snapshot.indices[asked], query, vector)
        best = max(best, ranked[0].score if ranked else 0.0)
        found = [passage for passage in ranked[:limit] if passage.score >= threshold]
    searched = ("dense", "lexical") if vector is not None else ("lexical",)
    return RetrievedKnowledge(snapshot=snapshot.id, passages=tuple(found), best=best, searched=searched)


def _ranked(index: LanguageIndex, query: str, vector: object) -> list[Passage]:
    scored = [
        _passage(passage, evidence)
        for passage, evidence in index.evidence(query, vector)  # pyright: ignore[reportArgumentType]
    ]
    return sorted(scored, key=lambda passage: (-passage.score, passage.id))


def _passage(passage: IndexedPassage, evidence: Evidence) -> Passage:
    return Passage(
        id=passage.id,
        document=passage.document,
        title=passage.title,
        section=passage.section,
        language=passage.language,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        score=round(relevance(evidence), 6),
        dense_score=None if evidence.sentence is None else round(evidence.sentence, 6),
        lexical_score=round(evidence.bm25, 6),
    )
