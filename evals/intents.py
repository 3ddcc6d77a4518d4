"""How well intents are recognised: CLINC150 beside the published figures, and the demo's held-out sentences.

    python evals/intents.py [--json] [--only demo|clinc150]

CLINC150 (Larson et al. 2019) is read from ``../shared/data/clinc150``, beside the repository, where it is there.
Embeddings are kept below ``var/evals``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from intents.classifier import IntentClassifier  # noqa: E402
from intents.intents_file import load  # noqa: E402
from intents.language_model import LanguageModel  # noqa: E402
from intents.scope import best_threshold  # noqa: E402
from knowledge_base.embedding import Embedder  # noqa: E402

CLINC = ROOT.parent / "shared" / "data" / "clinc150" / "data_full.json"
DEMO = ROOT / "examples" / "help"
CACHE = ROOT / "var" / "evals"
PUBLISHED = [
    {"method": "embedding, logit + 5 nearest", "accuracy": 0.953, "auroc": 0.980, "in_scope": 0.942, "out": 0.794},
    {"method": "+ TF-IDF, largest logit", "accuracy": 0.962, "auroc": 0.977, "in_scope": 0.942, "out": 0.847},
    {"method": "+ TF-IDF, logit + 5 nearest", "accuracy": 0.962, "auroc": 0.983, "in_scope": 0.936, "out": 0.898},
    {"method": "fine-tuned BERT (Larson et al.)", "accuracy": 0.969, "auroc": None, "in_scope": 0.962, "out": 0.523},
]
"""CLINC150 test, as measured before; thresholds chosen on val."""


def embedder() -> Callable[[list[str]], Any]:
    """Embeds with the demo's model, and keeps what it embedded in bulk."""
    model = Embedder()

    def embed(texts: list[str]) -> Any:
        if len(texts) < 1000:
            return model.embed(texts)
        name = hashlib.sha256("\0".join([model.digest, *texts]).encode()).hexdigest()[:24]
        kept = CACHE / f"embeddings-{name}.npy"
        if not kept.is_file():
            CACHE.mkdir(parents=True, exist_ok=True)
            np.save(kept, model.embed(texts))
        return np.load(kept)

    return embed


def measure(model: LanguageModel, pairs: Sequence[tuple[str, str | None]], threshold: float) -> dict[str, float]:
    """Accuracy without rejection, AUROC in / out of scope, both recalls, calibration error in ten bins."""
    from sklearn.metrics import roc_auc_score

    opinion = model.ask([text for text, _ in pairs])
    inside = np.array([intent is not None for _, intent in pairs])
    guessed = [model.intents[i] for i in opinion.probabilities.argmax(axis=1)]
    right = np.array([guess == intent for guess, (_, intent) in zip(guessed, pairs, strict=True)])
    kept = opinion.in_scope >= threshold
    confidence = np.where(kept, opinion.probabilities.max(axis=1) * opinion.in_scope, 1 - opinion.in_scope)
    correct = np.where(kept, right, ~inside)
    bins = np.clip((confidence * 10).astype(int), 0, 9)
    gaps = [abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return {
        "accuracy": float(right[inside].mean()),
        "auroc": float(roc_auc_score(inside, opinion.in_scope)),
        "in_scope": float(kept[inside].mean()),
        "out": float((~kept)[~inside].mean()),
        "calibration_error": float(sum(gaps)),
    }


def clinc150(embed: Callable[[list[str]], Any]) -> list[dict[str, Any]] | None:
    """Trained on train and oos_train, measured on test; ``None`` where the data is not there."""
    if not CLINC.is_file():
        return None
    data = json.loads(CLINC.read_text("utf-8"))

    def pairs(split: str) -> list[tuple[str, str | None]]:
        return [(text, intent) for text, intent in data[split]] + [(text, None) for text, _ in data[f"oos_{split}"]]

    began = time.perf_counter()
    model = LanguageModel(pairs("train"), "en", embed)
    seconds = time.perf_counter() - began
    val = pairs("val")
    on_val = best_threshold(
        model.ask([text for text, _ in val]).in_scope, np.array([intent is not None for _, intent in val])
    )
    return [
        {
            "method": f"this one, threshold by {chosen}",
            **measure(model, pairs("test"), threshold),
            "train_seconds": seconds,
        }
        for chosen, threshold in (("cross-validation", model.scope.threshold), ("val", on_val))
    ]


def demo(embed: Callable[[list[str]], Any]) -> list[dict[str, Any]] | None:
    """The demo's classifier on the sentences kept apart, by language; ``None`` where they are not there."""
    import yaml

    held_out = DEMO / "intents-heldout.yaml"
    if not held_out.is_file():
        return None
    examples = yaml.safe_load(held_out.read_text("utf-8"))["examples"]
    began = time.perf_counter()
    classifier = IntentClassifier.train(load(DEMO / "intents.yaml"), embed)
    seconds = time.perf_counter() - began
    rows: list[dict[str, Any]] = []
    for language, model in classifier.models.items():
        pairs = [(e["text"], e["intent"]) for e in examples if e["lang"] == language]
        began = time.perf_counter()
        for text, _ in pairs:
            classifier.recognise(text, language)
        each = (time.perf_counter() - began) / len(pairs)
        rows.append(
            {
                "method": f"demo, {language}, {len(pairs)} held-out sentences",
                **measure(model, pairs, model.scope.threshold),
                "train_seconds": seconds,
                "milliseconds": 1000 * each,
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    keys = ("accuracy", "auroc", "in_scope", "out", "calibration_error")
    lines = [f"{'':44}" + "".join(f"{key[:11]:>12}" for key in keys)]
    for row in rows:
        figures = (f"{row[key]:.3f}" if row.get(key) is not None else "" for key in keys)
        lines.append(f"{row['method']:44}" + "".join(f"{figure:>12}" for figure in figures))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--only", choices=("demo", "clinc150"))
    chosen = parser.parse_args()
    embed = embedder()
    results = {
        name: run(embed) for name, run in (("demo", demo), ("clinc150", clinc150)) if chosen.only in (None, name)
    }
    if chosen.json:
        print(json.dumps({**results, "published": PUBLISHED}, ensure_ascii=False, indent=2))
        return
    for name, rows in results.items():
        print(f"\n{name}")
        if rows is None:
            print(f"  not measured: {CLINC if name == 'clinc150' else DEMO} is not there")
        else:
            print(table([*rows, *(PUBLISHED if name == "clinc150" else [])]))


if __name__ == "__main__":
    main()
