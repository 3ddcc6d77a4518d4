"""Word lists: every listed word in a text, however it is dressed up.

The automaton (Aho and Corasick 1975, by ahocorasick_rs) runs over the folded text and gives candidates; each
is then held against the characters it came from, so that "as" is not taken for "ass", "class" not for "ass",
"pen is" not for one word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dialogue.faults import PolicyFault
from policy.beginnings import Beginnings
from policy.folding import convert_script, fold_character, is_ideograph
from policy.normalise import Normalised, normalise
from policy.spellings import Spelling, occurrences

__all__ = ["ListedWord", "WordList", "WordMatch"]

ALLOWED = 0
"""The level of a phrase that is fine although a shorter listed word stands in it."""


@dataclass(frozen=True, slots=True)
class ListedWord:
    """A line of a list. ``level`` 1 masks, 2 masks and records, 3 refuses; 0 allows what is inside it."""

    word: str
    level: int
    category: str


@dataclass(frozen=True, slots=True)
class WordMatch:
    """``start`` and ``end`` are offsets into the clean text of the :class:`Normalised` searched."""

    start: int
    end: int
    level: int
    category: str


class WordList:
    """Immutable, and not picklable: build it where it is used. 50,000 words take about half a second."""

    def __init__(self, words: Iterable[ListedWord]) -> None:
        import ahocorasick_rs

        self.words: tuple[ListedWord, ...] = tuple(sorted(set(words), key=lambda w: (w.word, w.level, w.category)))
        spellings: dict[str, list[tuple[ListedWord, Spelling]]] = {}
        for listed, spelling in _spellings(self.words):
            spellings.setdefault(spelling.folded, []).append((listed, spelling))
        self._spellings = list(spellings.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(spellings)) if spellings else None

    @classmethod
    def load(cls, *paths: Path) -> WordList:
        """Lists of ``word<TAB>level<TAB>category`` lines; ``#`` begins a comment line.

        Raises PolicyFault naming file and line.
        """
        return cls(word for path in paths for word in _read(path))

    def find(self, text: Normalised, begin: int = 0) -> tuple[WordMatch, ...]:
        """The listed words in the clean text from ``begin`` on, in order; of nested ones the sternest and longest."""
        return tuple(_outermost(self._candidates(text, begin)))

    def stretches(self, text: Normalised, begin: int) -> Iterator[tuple[int, int]]:
        """What must be judged whole, from ``begin`` on, nested and allowed words too.

        One that what follows may still change or complete ends beyond the clean text.
        """
        yield from ((match.start, match.end) for match in self._candidates(text, begin))
        first = self.beginnings.first(text, begin)
        if first is not None:
            yield first, len(text.text) + 1

    @cached_property
    def beginnings(self) -> Beginnings:
        """Made when first asked for: only a text that is shown while it flows needs it."""
        return Beginnings(spelling for spellings in self._spellings for _, spelling in spellings)

    def _candidates(self, text: Normalised, begin: int) -> list[WordMatch]:
        found: list[WordMatch] = []
        if self._automaton is None:
            return found
        for index, start, _ in self._automaton.find_matches_as_indexes(text.folded.text, overlapping=True):
            for listed, spelling in self._spellings[index]:
                spans = occurrences(text, start, spelling)
                found.extend(WordMatch(*span, listed.level, listed.category) for span in spans)
        return [match for match in found if match.start >= begin]


def _read(path: Path) -> Iterator[ListedWord]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise PolicyFault(f"{path}: no such word list; correct the path under words", field="words") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyFault(f"{path}: cannot be read as UTF-8 text ({error})", field="words") from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield _parse(line, f"{path}:{number}")


def _parse(line: str, place: str) -> ListedWord:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) != 3 or not fields[2]:
        raise PolicyFault(f"{place}: a line is word<TAB>level<TAB>category; separate them with tabs")
    word, level, category = fields
    if level not in ("0", "1", "2", "3"):
        raise PolicyFault(f"{place}: the level must be 1 (mask), 2 (record), 3 (refuse) or 0 (allow)")
    if not normalise(word).folded.text:
        raise PolicyFault(f"{place}: the word has no letter or digit and would never match; remove the line")
    return ListedWord(word, int(level), category)


def _spellings(words: Sequence[ListedWord]) -> Iterator[tuple[ListedWord, Spelling]]:
    """Each word as it folds, and its traditional form where a phrase is written otherwise than its characters."""
    han = [word for word in words if any(map(is_ideograph, word.word))]
    traditional = convert_script([word.word for word in han], "s2t")
    for word in words:
        yield word, Spelling.of(word.word)
    for word, other in zip(han, traditional, strict=True):
        if list(map(fold_character, other)) != list(map(fold_character, word.word)):
            yield word, Spelling.of(other)


def _outermost(found: list[WordMatch]) -> Iterator[WordMatch]:
    allowed = [match for match in found if match.level == ALLOWED]
    kept: list[WordMatch] = []
    for match in sorted(set(found), key=lambda m: (m.start, -m.end, -m.level, m.category)):
        within = (k for k in (*allowed, *kept) if k.start <= match.start and match.end <= k.end)
        if match.level != ALLOWED and not any(k.level in (ALLOWED, *range(match.level, 4)) for k in within):
            kept.append(match)
    yield from kept
