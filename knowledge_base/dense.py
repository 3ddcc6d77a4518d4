"""Dense search: exact inner products of unit vectors, of passages and of their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faiss
    import numpy as np

__all__ = ["DenseIndex"]


class DenseIndex:
    """FAISS flat indices. ``starts[row]:starts[row + 1]`` are the sentence rows of passage ``row``."""

    def __init__(self, passages: faiss.Index, sentences: faiss.Index, starts: Sequence[int]) -> None:
        import numpy as np

        self._passages = passages
        self._sentences = sentences
        self._starts = np.asarray(starts, dtype=np.int64)

    @classmethod
    def of(cls, passages: np.ndarray, sentences: np.ndarray, starts: Sequence[int]) -> DenseIndex:
        """``passages`` ``[n, dim]``, ``sentences`` ``[m, dim]``, both unit vectors; ``starts`` ``[n + 1]``."""
        return cls(_flat(passages), _flat(sentences), starts)

    @classmethod
    def load(cls, folder: Path, starts: Sequence[int]) -> DenseIndex:
        import faiss

        passages, sentences = (faiss.read_index(str(folder / f"{name}.faiss")) for name in ("passages", "sentences"))
        return cls(passages, sentences, starts)

    def save(self, folder: Path) -> None:
        import faiss

        # FAISS itself would not tell that the last bytes found no room on the disk: it only prints a line.
        for name, index in (("passages", self._passages), ("sentences", self._sentences)):
            (folder / f"{name}.faiss").write_bytes(faiss.serialize_index(index).tobytes())

    def nearest(self, query: np.ndarray, count: int) -> set[int]:
        """Rows of the passages nearest to ``query`` ``[dim]``, by themselves or by one of their sentences."""
        import numpy as np

        asked = query[None, :]
        _, by_passage = self._passages.search(asked, min(count, self._passages.ntotal))
        _, by_sentence = self._sentences.search(asked, min(2 * count, self._sentences.ntotal))
        owners = np.searchsorted(self._starts, by_sentence[0], side="right") - 1
        return {int(row) for row in by_passage[0]} | {int(row) for row in owners}

    def cosines(self, query: np.ndarray, row: int) -> tuple[float, float]:
        """The cosine of ``query`` with the passage, and with the best of its sentences."""
        first, count = int(self._starts[row]), int(self._starts[row + 1] - self._starts[row])
        whole = float(self._passages.reconstruct(row) @ query)
        return whole, float((self._sentences.reconstruct_n(first, count) @ query).max())

    def vectors(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of a passage ``[dim]`` and of its sentences ``[k, dim]``."""
        import numpy as np

        first, count = int(self._starts[row]), int(self._starts[row + 1] - self._starts[row])
        return np.asarray(self._passages.reconstruct(row)), self._sentences.reconstruct_n(first, count)


def _flat(vectors: np.ndarray) -> faiss.IndexFlatIP:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)  # pyright: ignore[reportCallIssue] - the Python form takes the array alone
    return index
