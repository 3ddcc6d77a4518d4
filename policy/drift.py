"""Notices, while an answer flows, that it has gone over to another language.

It reads sentence by sentence. What is quoted, code, addresses, citations, names and numbers do not count, and neither
does a sentence that stands in the passages: to say a source's own words is no drift.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from policy.language import function_words_in, wrong_language

__all__ = ["LanguageDrift"]

_ENDS, _ENDS_BEFORE_SPACE = frozenset("。！？"), frozenset(".!?")
_CLOSERS = {"“": "”", "「": "」", "『": "』", "《": "》", "«": "»", '"': '"'}
_LONGEST_SENTENCE = 300
"""Characters after which a sentence is judged although it has no end."""
_STRETCH = 75
"""What a stretch of foreign sentences needs, in UTF-8 bytes of letters: some 25 characters of Chinese or 15 words of
English."""
_GRAMMAR = 3
"""Function words that it needs: names in a row have none."""
_SENTENCES = 15
"""Foreign sentences that are remembered: names in a row may be many."""
_MARKS = re.compile(r"\s+|\[(?:citation:)?\d+\]")


class LanguageDrift:
    """Feed it the answer in pieces of any size; it says whether a stretch of it is in another language.

    ``expected`` is the question's language (ISO 639-1; ``und`` is never drifted from), ``passages`` are texts whose
    sentences may be said word for word. What it says is a function of the text so far, never of the pieces. Measured on
    one core: 3 to 6 microseconds a character, 20 in a list of foreign names, however long the answer is.
    """

    def __init__(self, expected: str, passages: Iterable[str] = ()) -> None:
        self._expected = expected
        self._passages = " ".join(_plain(passage) for passage in passages)
        self._line = self._sentence = ""
        self._closer: str | None = None
        self._in_code = False
        self._foreign: list[str] = []
        self._drifted = False

    def feed(self, text: str) -> bool:
        """Whether the answer has drifted by the end of ``text``."""
        for character in text:
            if self._drifted:
                break
            self._read(character)
        return self._drifted

    def _read(self, character: str) -> None:
        before = self._line[-1:]
        self._line = "" if character == "\n" else self._line + character
        if character == "\n":
            self._end_line(before)
        elif self._line == "```":
            self._in_code, self._sentence = not self._in_code, ""
        elif self._in_code or self._line.startswith(">"):
            self._sentence = ""
        elif self._closer is not None:
            self._closer = None if character == self._closer else self._closer
        elif character in _CLOSERS and not (character == '"' and before.isdigit()):  # 5" is a length
            self._closer = _CLOSERS[character]
            self._sentence += " "
        else:
            self._sentence += character
            ended = character in _ENDS or (character.isspace() and before in _ENDS_BEFORE_SPACE)
            if ended or len(self._sentence) >= _LONGEST_SENTENCE:
                self._judge()

    def _end_line(self, before: str) -> None:
        """A quotation that was never closed ends with its paragraph."""
        if not before:
            self._closer = None
        if self._closer is None and not self._in_code:
            self._judge()

    def _judge(self) -> None:
        sentence, self._sentence = self._sentence, ""
        plain = _plain(sentence)
        if not plain or plain in self._passages:
            return
        if wrong_language(sentence, self._expected):
            self._foreign = [*self._foreign[-_SENTENCES:], sentence]
        elif _speaks(sentence, self._expected):
            self._foreign.clear()
        stretch = " ".join(self._foreign)
        letters = "".join(filter(str.isalpha, stretch)).encode()
        self._drifted = len(letters) >= _STRETCH and function_words_in(stretch) >= _GRAMMAR


def _speaks(sentence: str, language: str) -> bool:
    """Whether it is a sentence of that language rather than a number, a name, or a word or two."""
    return not wrong_language(sentence, language) and function_words_in(sentence) > 0


def _plain(text: str) -> str:
    """As it is looked for in the passages: without citations, the marks of lists and the end's sign."""
    return " ".join(_MARKS.sub(" ", text).split()).strip(" -*•#.!?。！？").casefold()
