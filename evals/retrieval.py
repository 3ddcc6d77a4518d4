"""How well passages are found: XQuAD (English, Chinese) and the questions of the help centre.

    python evals/retrieval.py [--json FILE] [--xquad FOLDER] [--whole] [--fit]

Two things are measured, through :class:`knowledge_base.knowledge.KnowledgeBase` as the product uses it. *Ranking*:
R@1, R@5 and MRR of the document that holds the answer. *Threshold*: of questions with an answer in the knowledge
base, how many get the passage that holds it; of foreign questions, how many get nothing, as they should. Foreign are
XQuAD's questions asked of the other articles, sentences out of the help centre's scope, and XQuAD's questions asked
of the help centre.

``--fit`` computes the weights of ``knowledge_base/relevance.py`` anew and prints them: a logistic regression over
the evidence for passages that hold the answer (one a question) against the best that foreign questions find and the
best wrong ones of answerable questions. It sees XQuAD and the sentences out of scope of ``intents.yaml``; the help
centre's own questions and ``intents-heldout.yaml`` it never sees.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from knowledge_base.chunks import Chunking  # noqa: E402
from knowledge_base.embedding import Embedder  # noqa: E402
from knowledge_base.index import IndexedPassage  # noqa: E402
from knowledge_base.knowledge import KnowledgeBase  # noqa: E402
from knowledge_base.relevance import Evidence, relevance  # noqa: E402
from knowledge_base.snapshot import Snapshot, SnapshotStore  # noqa: E402

HELP = ROOT / "examples" / "help"
XQUAD = ROOT.parent / "shared" / "data" / "xquad"
THRESHOLDS = (0.2, 0.35, 0.5)
BEFORE = {  # all-MiniLM-L6-v2 and BM25 over whole passages, fused by z-scores; Chinese: characters and pairs
    "xquad en": (0.964, 0.996, 0.979),
    "xquad zh": (0.944, 0.989, 0.964),
}


@dataclass(frozen=True, slots=True)
class Question:
    """``document`` holds the answer in ``start:end``; None for a foreign question. ``group`` is asked nothing of."""

    text: str
    language: str
    document: str | None = None
    start: int = 0
    end: int = 0
    group: str | None = None


@dataclass(slots=True)
class Found:
    """What was found for a question: passages with evidence, best first."""

    question: Question
    ranked: list[tuple[IndexedPassage, Evidence, float]] = field(default_factory=list)

    def holds(self, passage: IndexedPassage) -> bool:
        asked = self.question
        return passage.document == asked.document and passage.start < asked.end and asked.start < passage.end

    def without(self, group: str) -> list[tuple[IndexedPassage, Evidence, float]]:
        return [hit for hit in self.ranked if not hit[0].document.startswith(group)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--xquad", type=Path, default=XQUAD, help="folder with xquad.en.json and xquad.zh.json")
    options.add_argument("--json", type=Path, help="write the figures to this file too")
    options.add_argument("--whole", action="store_true", help="keep XQuAD's passages whole, as the figures before did")
    options.add_argument("--fit", action="store_true", help="print the weights of knowledge_base/relevance.py anew")
    given = options.parse_args()
    chunking = Chunking(words=10_000) if given.whole else Chunking()
    embedder = Embedder()
    with tempfile.TemporaryDirectory() as folder:
        found = dict(_all_found(given.xquad, embedder, Path(folder), chunking))
    ranking = {name: _ranking(hits) for name, hits in found.items() if hits[0].question.document}
    thresholds = list(_thresholds(found))
    _print(ranking, thresholds)
    if given.fit:
        _fit(found)
    if given.json:
        given.json.write_text(json.dumps({"ranking": ranking, "threshold": thresholds}, indent=2) + "\n", "utf-8")


# Questions ----------------------------------------------------------------------------------------


def _all_found(xquad: Path, embedder: Embedder, folder: Path, chunking: Chunking) -> Iterator[tuple[str, list[Found]]]:
    centre = _built(embedder, folder / "help-kb", [HELP / "en", HELP / "zh"], Chunking())
    for language in ("en", "zh"):
        yield f"help {language}", _ask(centre, embedder, _help_questions(language, centre))
        for name in ("intents", "intents-heldout"):
            sentences = _out_of_scope(name, language)
            yield f"help {language}, out of scope ({name})", _ask(centre, embedder, sentences)
        file = xquad / f"xquad.{language}.json"
        if not file.is_file():
            print(f"XQuAD is not measured: {file} is not there")
            continue
        questions = _xquad(file, language, folder / language)
        snapshot = _built(embedder, folder / f"{language}-kb", [folder / language], chunking)
        yield f"xquad {language}", _ask(snapshot, embedder, questions)
        foreign = [Question(question.text, language) for question in questions[::4]]
        yield f"help {language}, asked XQuAD's questions", _ask(centre, embedder, foreign)


def _xquad(file: Path, language: str, folder: Path) -> list[Question]:
    """Writes each passage as a document ``<language>/<article>/<place>.md`` and gives the questions."""
    questions: list[Question] = []
    for number, article in enumerate(json.loads(file.read_text("utf-8"))["data"]):
        group = f"{language}/{number:02d}/"
        (folder / f"{number:02d}").mkdir(parents=True)
        for place, paragraph in enumerate(article["paragraphs"]):
            text: str = paragraph["context"]
            (folder / f"{number:02d}" / f"{place}.md").write_text(text, "utf-8")
            for asked in paragraph["qas"]:
                answer = asked["answers"][0]
                start = answer["answer_start"]
                questions.append(
                    Question(
                        asked["question"], language, f"{group}{place}.md", start, start + len(answer["text"]), group
                    )
                )
    return questions


def _help_questions(language: str, centre: Snapshot) -> list[Question]:
    asked = yaml.safe_load((HELP / "questions.yaml").read_text("utf-8"))["questions"]
    questions: list[Question] = []
    for item in asked:
        if item["lang"] == language:
            start = centre.text_of(item["document"]).index(item["quote"])
            questions.append(Question(item["question"], language, item["document"], start, start + len(item["quote"])))
    return questions


def _out_of_scope(name: str, language: str) -> list[Question]:
    read = yaml.safe_load((HELP / f"{name}.yaml").read_text("utf-8"))
    if name == "intents":
        sentences = read["out_of_scope"]["examples"][language]
    else:
        sentences = [e["text"] for e in read["examples"] if e["lang"] == language and e["intent"] is None]
    return [Question(sentence, language) for sentence in sentences]


# Asking -------------------------------------------------------------------------------------------


def _built(embedder: Embedder, folder: Path, sources: Sequence[Path], chunking: Chunking) -> Snapshot:
    report = KnowledgeBase(folder, embedder, chunking=chunking).build(sources)
    return SnapshotStore(folder).load(report.snapshot.id)


def _ask(snapshot: Snapshot, embedder: Embedder, questions: Sequence[Question]) -> list[Found]:
    found: list[Found] = []
    known = embedder.knows(questions[0].language)
    vectors = embedder.embed([question.text for question in questions]) if known else [None] * len(questions)
    for question, vector in zip(questions, vectors, strict=True):
        hits = [
            (passage, evidence, relevance(evidence))
            for passage, evidence in snapshot.indices[question.language].evidence(question.text, vector)
        ]
        found.append(Found(question, sorted(hits, key=lambda hit: (-hit[2], hit[0].id))))
    return found


# Figures ------------------------------------------------------------------------------------------


def _ranking(found: Sequence[Found]) -> dict[str, float]:
    ranks: list[float] = []
    for hits in found:
        documents = list(dict.fromkeys(passage.document for passage, _, _ in hits.ranked))
        asked = hits.question.document
        ranks.append(documents.index(asked) + 1 if asked in documents else float("inf"))
    places = np.array(ranks)
    return {
        "questions": len(ranks),
        "R@1": float(np.mean(places <= 1)),
        "R@5": float(np.mean(places <= 5)),
        "MRR": float(np.mean(1 / places)),
    }


def _thresholds(found: dict[str, list[Found]]) -> Iterator[dict[str, Any]]:
    for name, hits in found.items():
        answerable = hits[0].question.document is not None
        if answerable:
            rates = {t: np.mean([_given(hit, t) for hit in hits]) for t in THRESHOLDS}
            yield {"questions": name, "what": "passage with the answer among the 4 given", **_named(rates)}
        if not answerable or hits[0].question.group:
            bests = [_best(hit) for hit in hits]
            rates = {t: np.mean([best < t for best in bests]) for t in THRESHOLDS}
            what = "nothing given" + (", its own article left out" if answerable else "")
            yield {"questions": name, "what": what, **_named(rates)}


def _given(found: Found, threshold: float) -> bool:
    return any(found.holds(passage) and score >= threshold for passage, _, score in found.ranked[:4])


def _best(found: Found) -> float:
    foreign = found.without(found.question.group) if found.question.group else found.ranked
    return foreign[0][2] if foreign else 0.0


def _named(rates: dict[float, Any]) -> dict[str, float]:
    return {f"{threshold:.2f}": round(float(rate), 4) for threshold, rate in rates.items()}


def _print(ranking: dict[str, dict[str, float]], thresholds: Iterable[dict[str, Any]]) -> None:
    print(f"\n{'ranking':<12}{'questions':>10}{'R@1':>8}{'R@5':>8}{'MRR':>8}   before")
    for name, row in ranking.items():
        before = " / ".join(f"{figure:.3f}" for figure in BEFORE.get(name, ()))
        print(f"{name:<12}{row['questions']:>10}{row['R@1']:>8.3f}{row['R@5']:>8.3f}{row['MRR']:>8.3f}   {before}")
    print(f"\n{'threshold':<86}" + "".join(f"{threshold:>6.2f}" for threshold in THRESHOLDS))
    for row in thresholds:
        rates = "".join(f"{row[f'{threshold:.2f}']:>6.2f}" for threshold in THRESHOLDS)
        print(f"{row['questions'] + ': ' + row['what']:<86}{rates}")


# The weights --------------------------------------------------------------------------------------


def _fit(found: dict[str, list[Found]]) -> None:
    seen = [name for name in found if name.startswith("xquad") or name.endswith("(intents)")]
    print("\nweights for knowledge_base/relevance.py, from " + "; ".join(seen))
    for languages, names in ((("en",), "bm25 coverage passage sentence"), (("en", "zh"), "bm25 coverage")):
        rows = [row for name in seen if name.split()[1][:2] in languages for row in _examples(found[name])]
        columns = names.split()
        values = np.array([[getattr(evidence, column) or 0.0 for column in columns] for evidence, _, _ in rows])
        fitted = _regression(values, np.array([row[1] for row in rows]), np.array([row[2] for row in rows]))
        print(
            f"  {'+'.join(languages)}: bias={fitted[0]:.2f}, "
            + ", ".join(f"{column}={weight:.2f}" for column, weight in zip(columns, fitted[1:], strict=True))
        )


def _examples(found: Sequence[Found]) -> Iterator[tuple[Evidence, int, float]]:
    """``(evidence, holds the answer, weight)``: a question weighs the same however many wrong passages it shows."""
    for hits in found:
        right = [evidence for passage, evidence, _ in hits.ranked if hits.holds(passage)]
        yield from ((evidence, 1, 1.0) for evidence in right[:1])
        wrong = hits.without(hits.question.group) if hits.question.group else hits.ranked
        yield from ((evidence, 0, 1 / 3) for _, evidence, _ in wrong[:3])


def _regression(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, max_iter=1000).fit(values, labels, sample_weight=weights)
    return [float(model.intercept_[0]), *(float(weight) for weight in model.coef_[0])]


if __name__ == "__main__":
    main()
