"""Whether a stretch of text is a listed word in disguise, or only looks like one when folded.

Rules, all over the characters of the clean text behind a folded candidate:

- A character may be repeated. Digits may not; in an alphabetic word of up to three letters a doubled letter
  makes another word (god, good), three equal letters make none.
- Alphabetic words and numbers end where they end: "ass" is not in "class", "12" is not in "123". Han words are
  written without spaces and have no such bound.
- Punctuation and symbols may stand between characters, spaces too where the word is spelled out letter by
  letter ("p e n" is that word, "pen is" is two) or is written in Han characters. Contractions (he'll) and
  decimal numbers are no disguise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from policy.folding import is_ideograph
from policy.normalise import Normalised, normalise

__all__ = ["LONGEST_GAP", "Spelling", "ends_before", "is_alphabetic", "occurrences", "spelled_out"]

LONGEST_GAP = 12
"""Characters that may stand between two of a word's as dressing."""
_SHORT_WORD = 3
_CONTRACTED = frozenset({"ll", "s", "re", "ve", "d", "m", "t"})


@dataclass(frozen=True, slots=True)
class Spelling:
    """A word as it folds. ``counts``: how often each folded character repeats.

    ``separated``: between which of its runs (or within which, then both are the same) the word itself has a
    space or a punctuation mark.
    """

    folded: str
    counts: tuple[int, ...]
    separated: frozenset[tuple[int, int]]

    @classmethod
    def of(cls, word: str) -> Spelling:
        folded = normalise(word).folded
        runs, positions = folded.runs, folded.positions
        counts = tuple([end - start for start, end in pairwise(runs)])
        gaps = [] if word.isalnum() else [i for i, (a, b) in enumerate(pairwise(positions)) if b - a > 1]
        separated = [(bisect_right(runs, i) - 1, bisect_right(runs, i + 1) - 1) for i in gaps]
        return cls(folded.text, counts, frozenset(separated))


def occurrences(text: Normalised, start: int, spelling: Spelling) -> Iterator[tuple[int, int]]:
    """The clean text's spans of the word, where ``folded.text[start:]`` begins with its folded form."""
    ranges = _one_run(text, start, spelling) if len(spelling.counts) == 1 else _runs(text, start, spelling)
    positions = text.folded.positions
    for first, last in ranges:
        if ends_before(text, first) and _ends_after(text, last) and _gaps_belong(text, start, first, last, spelling):
            yield positions[first], positions[last] + 1


def _runs(text: Normalised, start: int, spelling: Spelling) -> Iterator[tuple[int, int]]:
    """The range of folded positions the word may cover; none where a run does not fit.

    The outer runs may hold characters of the neighbouring words ("kick ass softly"): they reach only as far as
    their characters stand together and the word is bounded there.
    """
    runs, counts = text.folded.runs, spelling.counts
    lengths = [runs[start + i + 1] - runs[start + i] for i in range(len(counts))]
    inner = range(1, len(counts) - 1)
    if lengths[0] < counts[0] or lengths[-1] < counts[-1]:
        return
    if not all(_may_repeat(text, start + i, lengths[i], i, spelling) for i in inner):
        return
    first = _furthest(text, runs[start + 1] - counts[0], runs[start], 0, start, spelling)
    end = len(counts) - 1
    last = _furthest(text, runs[start + end] + counts[-1] - 1, runs[start + end + 1] - 1, end, start + end, spelling)
    if first is not None and last is not None:
        yield first, last


def _furthest(text: Normalised, needed: int, limit: int, run: int, folded_at: int, spelling: Spelling) -> int | None:
    """From the ``needed`` folded position outwards to ``limit``: the last one at which the word may end."""
    step = -1 if run == 0 else 1
    positions = text.folded.positions
    best: int | None = None
    at = needed
    while True:
        length = spelling.counts[run] + abs(at - needed)
        bounded = ends_before(text, at) if step < 0 else _ends_after(text, at)
        if bounded and _may_repeat(text, folded_at, length, run, spelling):
            best = at
        if at == limit or abs(positions[at + step] - positions[at]) > 1:
            return best
        at += step


def _one_run(text: Normalised, start: int, spelling: Spelling) -> Iterator[tuple[int, int]]:
    """A word of one repeated character: each stretch without gaps, and those together that dressing keeps apart."""
    stretches = _stretches(text, start, 0)
    together = _stretches(text, start, len(text.text) if spelling.separated else LONGEST_GAP)
    for begin, last in dict.fromkeys((*stretches, *together)):
        if _may_repeat(text, start, last - begin + 1, 0, spelling):
            yield begin, last


def _stretches(text: Normalised, run: int, gap: int) -> list[tuple[int, int]]:
    """The run's folded positions, parted where more than ``gap`` other characters stand between two."""
    positions = text.folded.positions
    first, behind = text.folded.runs[run], text.folded.runs[run + 1]
    begins = [first, *(i for i in range(first + 1, behind) if positions[i] - positions[i - 1] - 1 > gap)]
    return list(zip(begins, [*(b - 1 for b in begins[1:]), behind - 1], strict=True))


def _may_repeat(text: Normalised, folded_at: int, seen: int, run: int, spelling: Spelling) -> bool:
    wanted, character = spelling.counts[run], text.folded.text[folded_at]
    if seen == wanted:
        return True
    if seen < wanted or character.isdigit():
        return False
    return is_ideograph(character) or sum(spelling.counts) > _SHORT_WORD or seen > 2


def ends_before(text: Normalised, first: int) -> bool:
    """Whether no word or number goes on to the left of this folded position."""
    positions, clean = text.folded.positions, text.text
    at = positions[first]
    if first > 0 and positions[first - 1] == at:
        return False  # the rest of one character that folds to several
    return at == 0 or not _same_word(clean[at - 1], clean[at])


def _ends_after(text: Normalised, last: int) -> bool:
    """Whether no word or number goes on to the right of this folded position."""
    positions, clean = text.folded.positions, text.text
    at = positions[last]
    if last + 1 < len(positions) and positions[last + 1] == at:
        return False
    return at + 1 == len(clean) or not _same_word(clean[at], clean[at + 1])


def _same_word(left: str, right: str) -> bool:
    if left.isdigit() or right.isdigit():
        return left.isdigit() and right.isdigit()
    return is_alphabetic(left) and is_alphabetic(right)


def is_alphabetic(character: str) -> bool:
    """Whether words of such letters end where another character stands."""
    return character.isalpha() and not is_ideograph(character)


def _gaps_belong(text: Normalised, start: int, first: int, last: int, spelling: Spelling) -> bool:
    """Whether what stands between the characters is dressing, and not the space between two words."""
    positions, runs, clean = text.folded.positions, text.folded.runs, text.text
    spaced = False
    for i in range(first, last):
        left, right = positions[i], positions[i + 1]
        if right - left <= 1:
            continue
        here, there = bisect_right(runs, i) - 1 - start, bisect_right(runs, i + 1) - 1 - start
        if (here, there) in spelling.separated:
            continue
        if right - left - 1 > LONGEST_GAP or not _may_dress(clean, left, right):
            return False
        letters = is_alphabetic(clean[left]) and is_alphabetic(clean[right])
        spaced = spaced or (letters and any(map(str.isspace, clean[left + 1 : right])))
    return not spaced or spelled_out(clean, positions[first : last + 1])


def _may_dress(clean: str, left: int, right: int) -> bool:
    """Whether ``clean[left + 1:right]`` may be a mark put into a word."""
    if clean[left].isdigit() and clean[right].isdigit():
        return False
    if clean[left + 1 : right] not in ("'", "’") or not is_alphabetic(clean[left]):
        return True
    end = right
    while end < len(clean) and is_alphabetic(clean[end]):
        end += 1
    return clean[right:end].casefold() not in _CONTRACTED


def spelled_out(clean: str, at: Sequence[int]) -> bool:
    """Whether no two different letters stand together."""
    return all(there - here != 1 or clean[here].casefold() == clean[there].casefold() for here, there in pairwise(at))
