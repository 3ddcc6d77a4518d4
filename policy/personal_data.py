"""Finds personal data by pattern and checksum: Chinese mobiles and ID numbers, cards, IBANs, e-mail, phones.

Works on clean text (:mod:`policy.normalise`), so full-width digits are digits already. Checksums: GB 11643
for ID numbers, Luhn for cards (ISO/IEC 7812), mod 97 for IBANs (ISO 13616), from python-stdnum.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

__all__ = ["KINDS", "Kind", "PersonalDatum", "find_personal_data", "personal_data_stretches"]

Kind = Literal["email", "iban", "id_number", "bank_card", "mobile", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Most specific first: that is how overlaps of equal length are resolved."""


@dataclass(frozen=True, slots=True)
class PersonalDatum:
    """``text[start:end]`` is of this kind. ``key`` compares two of them: letters and digits, lower case."""

    kind: Kind
    start: int
    end: int
    key: str


_DASH = r"\-‐‑‒–—―−"
_SEPARATOR = rf"[ {_DASH}]"
_LOCAL_PART = r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+][A-Za-z0-9._%+'-]{0,63}"
_EMAIL = re.compile(
    rf"{_LOCAL_PART}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_ID_NUMBER = re.compile(
    rf"(?<!\d)[1-9]\d{{5}}{_SEPARATOR}?(?:1[89]|20)\d\d{_SEPARATOR}?(?:0\d|1[0-2]){_SEPARATOR}?[0-3]\d"
    rf"{_SEPARATOR}?\d{{3}}[0-9Xx](?!\d)"
)
_DIGIT_GROUPS = re.compile(rf"(?<!\d)\d+(?:{_SEPARATOR}{{1,3}}\d+)*(?!\d)")
_CARD = re.compile(  # issuer's first digits, and the lengths that this issuer gives
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12,17}|35\d{14,17}"
    r"|(?:62|9\d)\d{14,17}|(?:5[06-8]|6[013-9])\d{11,17}"
)
_MOBILE = re.compile(
    rf"(?<![\d+])(?<!\d[.,])(?:(?:\+|00)?\(?86\)?{_SEPARATOR}?)?1[3-9]\d(?:{_SEPARATOR}?\d{{4}}){{2}}(?!\d)"
    rf"|(?<!\d)\+86{_SEPARATOR}?1[3-9](?:{_SEPARATOR}?\d){{9}}(?!\d)"
)
_PHONES = tuple(
    re.compile(rf"(?<![A-Za-z0-9_+])(?<!\d[.,/ {_DASH}])(?:{shape})(?!\d|{_SEPARATOR}\d)")
    for shape in (
        rf"(?:\+|00)[1-9]\d{{0,2}}(?:[ .()/{_DASH}]{{0,2}}\d){{6,13}}",  # international
        rf"\(?0\d{{2,3}}\)?{_SEPARATOR}{{0,2}}\d{{3,4}}{_SEPARATOR}?\d{{4}}(?:(?:转|ext\.?|x) ?\d{{1,6}})?",  # China
        rf"(?:1[ .{_DASH}])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .{_DASH}])[2-9]\d\d[ .{_DASH}]\d{{4}}",  # North America
        r"0[1-9](?:[ .]\d\d){4}",  # France
        rf"\(?0[1-9]\d{{1,4}}\)?(?:[ /{_DASH}]{{1,3}}\d{{2,8}}){{1,4}}",  # Europe, in groups
        r"07\d{3} ?\d{6}|0[1-9]\d{8,10}",  # the same in one piece
    )
)
_TELLING = re.compile(r"[\d@]")
"""One of these stands in all personal data."""
_DATE = re.compile(
    r"(?<!\d)(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})(?!\d)(?:[ T]\d{1,2}:?\d\d)?"
)
_MONEY = r"(?:[$€£¥₹]|元|块|万|亿|%|(?:USD|EUR|GBP|CNY|RMB|HKD|JPY|CHF|yuan|dollars?|euros?|pounds?)\b)"
_MONEY_BEFORE = re.compile(rf"{_MONEY} ?$", re.IGNORECASE)
_MONEY_AFTER = re.compile(rf"(?:[.,]\d+)? ?{_MONEY}|[.,]\d", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?:(?:order|invoice|ticket|tracking|reference|ref|case|transaction|parcel)"
    r"(?: ?(?:number|no\.?|nr\.?|id|code))?(?: is| was)?|(?<![a-z])no\.|#"
    r"|(?:订单|訂單|单号|單號|编号|編號|流水|发票|發票|快递|快遞|运单|物流)(?:号码|號碼|号|號|码|编号)?(?:是|为|為)?)"
    r"[ :#]{0,3}$",
    re.IGNORECASE,
)

_PATTERNS = (_EMAIL, _IBAN, _ID_NUMBER, _MOBILE, *_PHONES, _DATE)
_FEW_DIGITS = r"\d{1,39}"
"""Longer pieces are in no datum: what goes on for ever is not held back for ever."""
_NUMBER = (  # digits and all that a number of any kind may have between them
    rf"(?<!\d)[+(]{{0,2}}{_FEW_DIGITS}(?:(?:[ .():/{_DASH}]{{1,4}}|[,T]|(?:转|ext\.?|x) ?){_FEW_DIGITS})*+"
)
_BEGUN = tuple(  # what may still become personal data, or turn out to be none, by what follows
    re.compile(rf"(?:{shape})\Z")
    for shape in (
        rf"{_LOCAL_PART}(?:@(?:[A-Za-z0-9-]{{1,63}}\.){{0,8}}[A-Za-z0-9-]{{0,63}})?",
        r"(?<![A-Za-z0-9])[A-Za-z](?:[A-Za-z](?:\d(?:\d(?:[ -]?[A-Za-z0-9]){0,30}[ -]?)?)?)?",
        rf"{_NUMBER}(?:[ .():/{_DASH}]{{0,4}}|[TX,]|(?:转|ext\.?|x) ?|ex?)",
        rf"(?=(?:\D{{0,6}}\d){{7}}){_NUMBER} ?[A-Za-z]{{1,7}}",  # a currency's name, or some other word
        r"[+(]{1,2}",
    )
)


def find_personal_data(text: str, begin: int = 0) -> tuple[PersonalDatum, ...]:
    """What stands in clean ``text`` from ``begin`` on, in order and without overlap.

    The longest wins, then the most specific. What stands before ``begin`` is seen as context only.
    """
    digits = _ascii_digits(text)
    found = [datum for find in _FINDERS for datum in find(digits, begin)]
    kept: list[PersonalDatum] = []
    for datum in sorted(found, key=lambda d: (d.start - d.end, KINDS.index(d.kind), d.start)):
        if all(datum.end <= other.start or other.end <= datum.start for other in kept):
            kept.append(datum)
    return tuple(sorted(kept, key=lambda d: d.start))


def personal_data_stretches(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """What must be judged whole, from ``begin`` on: each stretch that a pattern takes, whatever its checksum says.

    One that what follows may still change or complete ends beyond the text.
    """
    digits = _ascii_digits(text)
    for pattern in _BEGUN:
        if begun := pattern.search(digits, begin):
            yield begun.start(), len(text) + 1
    if not _TELLING.search(digits, begin):
        return
    for pattern in _PATTERNS:
        yield from (match.span() for match in pattern.finditer(digits, begin))
    yield from ((card.start, card.end) for card in _bank_cards(digits, begin))


def _ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _datum(kind: Kind, text: str, start: int, end: int) -> PersonalDatum:
    key = "".join(c for c in text[start:end].casefold() if c.isalnum())
    if kind in ("mobile", "phone"):
        key = re.sub(r"^(?:0+|86(?=1\d{10}$))+", "", key)
    return PersonalDatum(kind, start, end, key)


def _emails(text: str, begin: int) -> Iterator[PersonalDatum]:
    for match in _EMAIL.finditer(text, begin):
        yield _datum("email", text, *match.span())


def _ibans(text: str, begin: int) -> Iterator[PersonalDatum]:
    from stdnum import iban

    for match in _IBAN.finditer(text, begin):
        start, end = match.span()
        while end - start >= 15:
            ends_whole = end == len(text) or not (text[end].isascii() and text[end].isalnum())
            if ends_whole and iban.is_valid(text[start:end]):
                yield _datum("iban", text, start, end)
                break
            end -= 1


def _id_numbers(text: str, begin: int) -> Iterator[PersonalDatum]:
    from stdnum.cn import ric

    for match in _ID_NUMBER.finditer(text, begin):
        number = re.sub(r"[^0-9Xx]", "", match.group()).upper()
        if number[-1] == ric.calc_check_digit(number):
            yield _datum("id_number", text, *match.span())


def _bank_cards(text: str, begin: int) -> Iterator[PersonalDatum]:
    """Whole groups of digits that together have 13 to 19 digits, an issuer's first digits and a Luhn sum."""
    from stdnum import luhn

    for run in _DIGIT_GROUPS.finditer(text, begin):
        groups = [(m.start() + run.start(), m.group()) for m in re.finditer(r"\d+", run.group())]
        lengths = [0, *accumulate(len(group) for _, group in groups)]
        for first in range(len(groups)):
            for last in range(first, len(groups)):
                length = lengths[last + 1] - lengths[first]
                if length > 19:
                    break
                number = "".join(group for _, group in groups[first : last + 1])
                if length >= 13 and _grouped_like_a_card(groups[first : last + 1]) and luhn.is_valid(number):
                    start, (begin, group) = groups[first][0], groups[last]
                    yield _datum("bank_card", text, start, begin + len(group))


def _grouped_like_a_card(groups: list[tuple[int, str]]) -> bool:
    sizes = [len(group) for _, group in groups]
    if not _CARD.fullmatch("".join(group for _, group in groups)):
        return False
    return all(size >= 4 for size in sizes[:-1]) or all(size <= 2 for size in sizes)


def _mobiles(text: str, begin: int) -> Iterator[PersonalDatum]:
    for match in _MOBILE.finditer(text, begin):
        if _stands_for_itself(text, *match.span()):
            yield _datum("mobile", text, *match.span())


def _phones(text: str, begin: int) -> Iterator[PersonalDatum]:
    dates = [match.span() for match in _DATE.finditer(text, begin)]
    for pattern in _PHONES:
        for match in pattern.finditer(text, begin):
            start, end = match.span()
            dated = any(start < last and first < end for first, last in dates)
            enough = 7 <= sum(map(str.isdigit, match.group())) <= 18
            if enough and not dated and _stands_for_itself(text, start, end):
                yield _datum("phone", text, start, end)


def _stands_for_itself(text: str, start: int, end: int) -> bool:
    """Whether the number is neither an amount of money, nor part of a decimal, nor an order's number."""
    before = text[max(0, start - 40) : start]
    if text[start : start + 1] == "+":
        return True
    return not (_MONEY_BEFORE.search(before) or _MONEY_AFTER.match(text, end) or _NUMBERED.search(before.rstrip("\n")))


_FINDERS: tuple[Callable[[str, int], Iterator[PersonalDatum]], ...] = (
    _emails,
    _ibans,
    _id_numbers,
    _bank_cards,
    _mobiles,
    _phones,
)
