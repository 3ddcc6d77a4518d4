"""A small help centre in files, an embedder without a model, and the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from dialogue.steps import Passage
from knowledge_base.embedding import Embedder
from knowledge_base.knowledge import KnowledgeBase

RETURNS_EN = """# Returns and refunds

## Online orders

Shoes and clothes bought online can be sent back within 30 days from delivery, unworn and in the original box.
All tags must still be on the item.

## Refunds

The refund is paid within 5 working days after the parcel reaches our warehouse.
"""
CARDS_EN = """# Lost card

Block a lost card in the app at once. A new card costs 8.50 EUR and arrives within 4 working days.
"""
RETURNS_ZH = """# 退货与退款

## 线上订单

线上购买的鞋子和衣服，自签收之日起30天内可以退货，须未穿着并放在原包装盒内。吊牌不能拆掉。

## 退款

仓库收到退货包裹后，5个工作日内退款。
"""


class HashEmbedder(Embedder):
    """Unit vectors made from a text's digest, all near each other so that words decide. Keeps what it was asked."""

    def __init__(self, digest: str = "ab" * 32, languages: Sequence[str] = ("en",)) -> None:
        self.asked: list[str] = []
        self.__dict__.update(digest=digest, dimension=8, _languages=tuple(languages))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.extend(texts)
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        drawn = [np.random.default_rng(seed).normal(scale=0.01, size=8) + np.ones(8) for seed in seeds]
        vectors = np.array(drawn, dtype=np.float32).reshape(-1, 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(folder: Path, **texts: str) -> Path:
    """Writes ``returns__en="…"`` as ``folder/returns.en.md`` and gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name.replace('__', '.')}.md").write_text(text, "utf-8")
    return folder


def passage(text: str, start: int = 100, title: str = "Title", section: str = "", language: str = "en") -> Passage:
    return Passage(
        id=f"d:{start}", document="d", title=title, section=section, language=language, text=text,
        start=start, end=start + len(text), score=1.0,
    )  # fmt: skip


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write(tmp_path / "help", returns__en=RETURNS_EN, cards__en=CARDS_EN, returns__zh=RETURNS_ZH)


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def base(tmp_path: Path, embedder: HashEmbedder) -> KnowledgeBase:
    return KnowledgeBase(tmp_path / "kb", embedder)


@pytest.fixture(scope="session")
def minilm() -> Embedder:
    return Embedder(threads=1)
