from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dialogue.faults import ModelMissing
from knowledge_base.embedding import Embedder
from knowledge_base.knowledge import KnowledgeBase
from knowledge_base.lexical import LexicalIndex
from knowledge_base.relevance import Evidence, relevance
from knowledge_base.terms import terms

HELP = Path(__file__).parents[2] / "examples" / "help"


@pytest.fixture(scope="module")
def centre(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    base = KnowledgeBase(tmp_path_factory.mktemp("kb"), minilm)
    base.build([HELP / language / f"{name}.md" for language in ("en",) for name in ("returns", "transfer-limits")])
    base.add([HELP / "zh"])
    return base


def test_embeddings_are_unit_vectors_and_near_where_meanings_are(minilm: Embedder) -> None:
    """Float32 rows of the announced length; a paraphrase is nearer than another subject."""
    shoes, boots, loan = vectors = minilm.embed(["send back shoes", "return a pair of boots", "interest on a loan"])
    assert vectors.shape == (3, minilm.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert shoes @ boots > shoes @ loan + 0.2
    assert minilm.embed([]).shape == (0, minilm.dimension)
    assert re.fullmatch("[0-9a-f]{64}", minilm.digest)
    assert (minilm.knows("en"), minilm.knows("zh")) == (True, False)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The fault names the package or folder and the command that brings it."""
    with pytest.raises(ModelMissing, match="pip install no-such-package"):
        Embedder("wheel:no_such_package")
    with pytest.raises(ModelMissing, match="holds no sentence-transformers model"):
        Embedder(str(tmp_path))


@pytest.mark.parametrize(
    ("query", "language", "document", "section"),
    [
        ("How long do I have to send back shoes I bought online?", "en", "returns.md", "Online orders"),
        ("when will I get my money back after returning", "en", "returns.md", "Refunds"),
        ("鞋子多久之内可以退货？", "zh", "zh/returns.md", "线上订单"),
        ("鞋子幾天內可以退貨？", "zh", "zh/returns.md", "线上订单"),
    ],
)
def test_questions_find_their_passage_first(
    centre: KnowledgeBase, query: str, language: str, document: str, section: str
) -> None:
    """In both languages, by meaning or by words, in traditional characters too; above the default threshold."""
    found = centre.search(query, language)
    assert (found.passages[0].document, found.passages[0].section) == (document, section)
    assert found.best == found.passages[0].score
    assert list(found.passages) == sorted(found.passages, key=lambda passage: -passage.score)
    assert found.searched == (("dense", "lexical") if language == "en" else ("lexical",))


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("Who won the World Cup in 2018?", "en"),
        ("今天天气怎么样？", "zh"),
        ("asdf qwer", "en"),
        ("。？！", "zh"),
        ("", "en"),
    ],
)
def test_a_foreign_question_finds_nothing(centre: KnowledgeBase, query: str, language: str) -> None:
    """Below the threshold nothing is returned; the best score found is told all the same."""
    found = centre.search(query, language)
    assert found.passages == ()
    assert 0 <= found.best < 0.35


def test_no_more_passages_than_asked_for(centre: KnowledgeBase) -> None:
    """More than the corpus holds may be asked for."""
    assert len(centre.search("return an item", "en", 2, threshold=0).passages) == 2
    assert len(centre.search("return an item", "en", 1000, threshold=0).passages) <= 1000


def test_terms_fold_what_readers_take_for_the_same() -> None:
    """Inflection, case, width, traditional characters, question words."""
    assert terms("Returning RETURNED ｒｅｔｕｒｎ the") == ["return"] * 3
    assert terms("如何退貨？") == terms("怎么退货") == ["退", "货", "退货"]
    assert terms("10,000 EUR") == terms("10000 eur")


def test_bm25_is_a_share_of_the_most_a_question_can_reach() -> None:
    """0 where no term is known, below 1 where all are; a passage without terms harms nothing."""
    index = LexicalIndex.of(["shoes and boots", "cards", "the of and"])
    scores = index.scores(index.query("Which shoes?"))
    assert 0 < scores[0] < 1
    assert scores[1:].tolist() == [0, 0]
    assert index.scores(index.query("elephants")).tolist() == [0, 0, 0]
    assert index.scores(index.query("")).tolist() == [0, 0, 0]
    assert index.query("shoes elephants").coverage(frozenset({"shoe"})) < 0.5
    assert LexicalIndex.of(["the"]).scores(index.query("shoes")).tolist() == [0]


def test_relevance_grows_with_each_piece_of_evidence() -> None:
    """It stays within 0 and 1 and never falls when a method says more."""
    assert relevance(Evidence(0.3, 0.5, 0.5, 0.6)) < relevance(Evidence(0.4, 0.5, 0.5, 0.6))
    assert relevance(Evidence(0.3, 0.5)) < relevance(Evidence(0.3, 0.6))
    assert 0 <= relevance(Evidence(0, 0, -1, -1)) < relevance(Evidence(1, 1, 1, 1)) <= 1
