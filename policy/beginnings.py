"""Whether the end of a text may become a listed word as the text goes on.

Most ends of most texts may not, whatever follows: no listed word goes on as they do, or what stands between their
characters is no disguise. The rules are those of :mod:`policy.spellings`, applied to as much of a word as is there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from policy.folding import is_ideograph
from policy.normalise import Normalised, joins_backwards
from policy.spellings import LONGEST_GAP, Spelling, ends_before, is_alphabetic, spelled_out

__all__ = ["Beginnings"]

_FOLDED_MARK = "ι"
"""The only letter that a combining mark (U+0345) folds to."""


class Beginnings:
    """Immutable. All spellings of a list, sorted: a beginning of one is a beginning of the first that is not less."""

    def __init__(self, spellings: Iterable[Spelling]) -> None:
        kept = list(spellings)
        self._sorted = sorted({spelling.folded for spelling in kept})
        self._longest = max(map(len, self._sorted), default=0)
        self._loose = frozenset(beginning for spelling in kept for beginning in _loose(spelling))
        self.with_marks = any(joins_backwards(folded[0]) or folded[0] == _FOLDED_MARK for folded in self._sorted)
        """Whether a word begins with a mark that joins what stands before it."""

    def first(self, text: Normalised, begin: int) -> int | None:
        """The clean text's first character, from ``begin`` on, at which a listed word may begin that is not over."""
        folded = text.folded
        for run in range(max(len(folded.text) - self._longest, 0), len(folded.text)):
            if self._begins(folded.text[run:]):
                for at in range(folded.runs[run], folded.runs[run + 1]):
                    start = folded.positions[at]
                    if start >= begin and ends_before(text, at) and self._may_go_on(text, run, at):
                        return start
        return None

    def _begins(self, beginning: str) -> bool:
        at = bisect_left(self._sorted, beginning)
        return at < len(self._sorted) and self._sorted[at].startswith(beginning)

    def _may_go_on(self, text: Normalised, run: int, first: int) -> bool:
        """Whether what stands between the characters from the ``first`` folded position on may be dressing."""
        positions, clean, folded = text.folded.positions, text.text, text.folded
        spaced, here = False, run
        for i in range(first, len(positions)):
            if i == folded.runs[here + 1]:
                here += 1
            left = positions[i]
            right = positions[i + 1] if i + 1 < len(positions) else len(clean)
            if right - left <= 1 or folded.text[run : here + 1] in self._loose:
                continue
            if right - left - 1 > LONGEST_GAP:
                return False
            following = clean[right : right + 1]
            if clean[left].isdigit() and following.isdigit():
                return False
            letters = is_alphabetic(clean[left]) and (not following or is_alphabetic(following))
            spaced = spaced or (letters and any(map(str.isspace, clean[left + 1 : right])))
        return not spaced or spelled_out(clean, positions[first:])


def _loose(spelling: Spelling) -> Iterable[str]:
    """Its beginnings after which a space parts no two words: the word has one there, or a letter and another kind."""
    for here, _ in spelling.separated:
        yield spelling.folded[: here + 1]
    for at in range(1, len(spelling.folded)):
        before, after = spelling.folded[at - 1 : at + 1]
        if not is_ideograph(before) and before.isalpha() and (not is_alphabetic(after) or after == _FOLDED_MARK):
            yield spelling.folded[:at]
