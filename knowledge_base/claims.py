"""What an answer claims that its sources do not say: numbers, dates and names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dialogue.steps import Passage
from knowledge_base.dates import find_dates, find_weekdays
from knowledge_base.numbers import find_numbers, supports
from knowledge_base.terms import is_stop_word, terms
from knowledge_base.text import fold, sentences

__all__ = ["Claim", "unsupported_claims"]


@dataclass(frozen=True, slots=True)
class Claim:
    """``answer[start:end]`` says something that stands neither in a passage nor in the question."""

    start: int
    end: int
    kind: Literal["number", "date", "name"]


_NOT_SAID = re.compile(r"\[\d{1,3}\]|^[ \t]*(?:[-*+] )?\d{1,3}[.)、](?=\s)|^[ \t]*\d{1,2}、", re.MULTILINE)
_ADDRESS = re.compile(
    r"https?://[^\s<>\"'，。）)\]]+|www\.[^\s<>\"'，。）)\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|\b(?:[a-z0-9-]+\.)+(?:com|org|net|cn|io|de|eu|app|co|info|bank|shop|example|invalid)\b(?:/[^\s，。）)]*)?",
    re.IGNORECASE | re.ASCII,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_QUOTED = re.compile(r"“([^”]{2,30})”|「([^」]{2,30})」|『([^』]{2,30})』|《([^》]{1,30})》|\"([^\"\n]{2,30})\"")
_LATIN = re.compile(r"[A-Za-z][A-Za-z\-]+(?: [A-Za-z][A-Za-z\-]+)*")
_ALWAYS_KNOWN = frozenset({"i", "ok", "am", "pm", "id", "faq", "app"})


def unsupported_claims(answer: str, passages: Sequence[Passage], question: str, language: str) -> list[Claim]:
    """The claims of an answer that stand in no passage (headings included) and not in the question, in order.

    Values are compared, not spellings: 10,000 is 一万, 8 p.m. is 20:00, 1 May is 5月1日. Names are capitalised words
    within an English sentence, quoted terms and Latin words in a Chinese one, and web and mail addresses in both.
    """
    sources = [f"{passage.title}\n{passage.section}\n{passage.text}" for passage in passages]
    evidence = "\n".join([*sources, question])
    said = _blank(answer, _NOT_SAID)
    found = [*_addresses(said, evidence)]
    if language.startswith("zh"):
        found += _quoted_terms(said, _blank(evidence, _NOT_SAID))
    said = _blank(said, _ADDRESS)
    found += _dates(said, evidence)
    found += _numbers(said, evidence)
    for judged in (*find_dates(said), *find_weekdays(said), *find_numbers(said)):
        said = said[: judged.start] + " " * (judged.end - judged.start) + said[judged.end :]
    found += _latin_words(said, evidence) if language.startswith("zh") else _english_names(said, evidence)
    return _apart(sorted(found, key=lambda claim: (claim.start, -claim.end)))


def _blank(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda match: " " * len(match.group()), text)


def _addresses(answer: str, evidence: str) -> Iterator[Claim]:
    known = fold(evidence)
    for match in _ADDRESS.finditer(answer):
        address = match.group().rstrip(".,;:!?。，")
        if fold(address) not in known:
            yield Claim(match.start(), match.start() + len(address), "name")


def _dates(answer: str, evidence: str) -> Iterator[Claim]:
    known = find_dates(evidence)
    for date in find_dates(answer):
        if not any(source.supports(date) for source in known):
            yield Claim(date.start, date.end, "date")
    days = {weekday.day for weekday in find_weekdays(evidence)}
    for weekday in find_weekdays(answer):
        if weekday.day not in days:
            yield Claim(weekday.start, weekday.end, "date")


def _numbers(answer: str, evidence: str) -> Iterator[Claim]:
    known = find_numbers(evidence)
    dated = [(date.start, date.end) for date in find_dates(answer)]
    for number in find_numbers(answer):
        if not number.plain or any(start <= number.start < end for start, end in dated):
            continue
        if not any(supports(source, number) for source in known):
            yield Claim(number.start, number.end, "number")


def _english_names(answer: str, evidence: str) -> Iterator[Claim]:
    known = set(terms(evidence.replace("-", " ")))
    for sentence in sentences(answer):
        words = list(_WORD.finditer(answer, sentence.start, sentence.end))
        begin: int | None = None
        for place, word in enumerate(words):
            if not _is_name(word.group(), first=place == 0) or _stands_in(word.group(), known):
                begin = None
                continue
            joined = begin is not None and answer[words[place - 1].end() : word.start()] == " "
            begin = begin if joined and begin is not None else word.start()
            if place + 1 < len(words) and _goes_on(answer, word, words[place + 1], known):
                continue
            yield Claim(begin, word.end(), "name")
            begin = None


def _goes_on(answer: str, word: re.Match[str], following: re.Match[str], known: set[str]) -> bool:
    near = answer[word.end() : following.start()] == " "
    return near and _is_name(following.group(), first=False) and not _stands_in(following.group(), known)


def _is_name(word: str, *, first: bool) -> bool:
    if first:  # every first word has a capital; a name shows by another one: PayPal, IBAN
        return sum(character.isupper() for character in word) > 1
    return any(character.isupper() for character in word)


def _stands_in(word: str, known: set[str]) -> bool:
    parts = [part for part in re.split(r"[-'’]", fold(word)) if part]
    if all(part in _ALWAYS_KNOWN or is_stop_word(part) for part in parts):
        return True
    return set(terms(word.replace("-", " "))) <= known


def _quoted_terms(answer: str, evidence: str) -> Iterator[Claim]:
    known = _tight(evidence)
    for match in _QUOTED.finditer(answer):
        term = next(group for group in match.groups() if group)
        if _tight(term).strip("，。！？、,.!?") not in known:
            yield Claim(match.start(), match.end(), "name")


def _latin_words(answer: str, evidence: str) -> Iterator[Claim]:
    known, tight = set(terms(evidence.replace("-", " "))), _tight(evidence)
    for match in _LATIN.finditer(answer):
        if not _stands_in(match.group(), known) and _tight(match.group()) not in tight:
            yield Claim(match.start(), match.end(), "name")


def _tight(text: str) -> str:
    return "".join(fold(text).split())


def _apart(claims: Sequence[Claim]) -> list[Claim]:
    """Claims that do not overlap: of two that do, the one that begins first."""
    apart: list[Claim] = []
    for claim in claims:
        if not apart or claim.start >= apart[-1].end:
            apart.append(claim)
    return apart
