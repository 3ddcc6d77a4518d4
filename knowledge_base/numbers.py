"""Numbers as they are written in English and Chinese, brought to one value: 10,000 = 10000 = 一万 = ten thousand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

__all__ = ["Number", "find_numbers", "supports"]


@dataclass(frozen=True, slots=True)
class Number:
    """``text[start:end]`` means ``value`` of ``unit`` (``%``, a currency code, ``day`` …; None when none is named).

    A time of day has the unit ``clock`` and its minutes since midnight as value; ``half_day`` says that morning or
    evening is not named. ``plain`` numbers state a quantity; others (``one``, 一 without a unit) may be idiom.
    """

    start: int
    end: int
    value: Decimal
    unit: str | None = None
    plain: bool = True
    half_day: bool = False


_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_ONES: dict[str, int] = {word: value for value, word in enumerate(_SMALL.split())}
_TENTHS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS: dict[str, int] = {word: value for value, word in zip(range(20, 100, 10), _TENTHS.split(), strict=True)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_WORDS = "|".join(sorted([*_ONES, *_TENS, *_SCALES], key=len, reverse=True))

_HAN_DIGITS = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "兩": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_HAN = "".join([*_HAN_DIGITS, *_HAN_SCALES])

_UNITS = {
    "%": r"%|percent\b|per cent\b",
    "EUR": r"€|EUR\b|euros?\b|欧元|歐元",
    "USD": r"\$|USD\b|dollars?\b|美元|美金",
    "GBP": r"£|GBP\b|pounds?\b|英镑|英鎊",
    "CNY": r"¥|CNY\b|RMB\b|yuan\b|元|块钱|人民币",
    "working_day": r"(?:working|business)[ -]days?\b|个?工作日|個?工作日",
    "day": r"(?:calendar |full |consecutive )?days?\b|天|日(?!元)",
    "hour": r"hours?\b|hrs?\b|个?小时|個?小時|个?钟头",
    "minute": r"min(?:ute)?s?\b|分钟|分鐘",
    "second": r"seconds?\b|秒",
    "week": r"weeks?\b|周(?!年)|个?星期|週",
    "month": r"(?:calendar )?months?\b|个月|個月|月",
    "year": r"years?\b|年",
    "kg": r"kg\b|kilos?\b|kilograms?\b|公斤|千克",
    "km": r"km\b|kilomet(?:er|re)s?\b|公里|千米",
    "point": r"points?\b|积分|積分",
}
_UNIT = re.compile(
    r"[ \u00a0-]?(?:" + "|".join(f"(?P<u{place}>{pattern})" for place, pattern in enumerate(_UNITS.values())) + ")",
    re.IGNORECASE,
)
_UNIT_NAMES = list(_UNITS)
_CURRENCY_BEFORE = re.compile(r"(?:(€|EUR)|(\$|USD)|(£|GBP)|(¥|CNY|RMB))[ \u00a0]?$")

_CLOCK = re.compile(
    r"(?<![\d:])(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?:[ \u00a0]?(?P<half>[ap])\.?m\b\.?)?"
    r"|(?<![\d.,:])(?P<hour2>\d{1,2})[ \u00a0]?(?P<half2>[ap])\.?m\b\.?"
    r"|(?P<part>凌晨|清晨|早上|早晨|上午|中午|下午|傍晚|晚上)?(?P<hour3>\d{1,2})[点點时時](?!间)(?:(?P<minute3>[0-5]?\d)分|(?P<thirty>半))?",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?P<digits>(?<![A-Za-z_\d])(?<!\d[.,])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+|,\d{1,2}(?!\d))?))"
    r"(?:(?P<scale>[十百千万萬亿億]+)|[ ]?(?P<word_scale>hundred|thousand|million|billion)\b|(?P<k>k)\b)?"
    rf"|百分之(?P<share>[{_HAN}]+|\d+(?:\.\d+)?)"
    rf"|(?P<han>[{_HAN}]+)"
    rf"|\b(?P<words>(?:{_WORDS})(?:(?:[ -]|[ ]and[ ])(?:{_WORDS}))*)\b",
    re.IGNORECASE,
)


def find_numbers(text: str) -> list[Number]:
    """All numbers of a text in order. Full-width digits are read like narrow ones."""
    text = text.translate(_NARROW)
    clocks = [_clock(match) for match in _CLOCK.finditer(text)]
    found = [clock for clock in clocks if clock is not None]
    covered = {place for clock in found for place in range(clock.start, clock.end)}
    for match in _NUMBER.finditer(text):
        if match.start() in covered or match.end() - 1 in covered:
            continue
        number = _number(text, match)
        if number is not None:
            found.append(number)
    return sorted(found, key=lambda number: number.start)


def supports(evidence: Number, claim: Number) -> bool:
    """Whether a number that stands in a source allows the claim: same value, and no other unit."""
    if (evidence.unit == "clock") != (claim.unit == "clock"):
        return False
    if claim.unit == "clock" and (claim.half_day or evidence.half_day):
        return claim.value % 720 == evidence.value % 720
    if evidence.value != claim.value:
        return False
    if claim.unit == "%":
        return evidence.unit == "%"
    return claim.unit is None or evidence.unit is None or claim.unit == evidence.unit


# Digits, letters and ％ only: a full-width comma ends a clause and is no part of a number.
_NARROW = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), 0xFF05)
}


def _clock(match: re.Match[str]) -> Number | None:
    hour = int(match["hour"] or match["hour2"] or match["hour3"])
    minute = 30 if match["thirty"] else int(match["minute"] or match["minute3"] or 0)
    half = (match["half"] or match["half2"] or "").lower()
    part = match["part"] or ""
    if hour > 24 or (half and hour > 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    elif part in ("下午", "傍晚", "晚上") and hour < 12:
        hour += 12
    vague = bool(match["hour3"]) and not part and hour <= 12
    return Number(match.start(), match.end(), Decimal(hour * 60 + minute), "clock", half_day=vague)


def _number(text: str, match: re.Match[str]) -> Number | None:
    start, end = match.span()
    if match["share"]:
        value = _value_of(match["share"])
        return None if value is None else Number(start, end, value, "%")
    if match["han"]:
        return _han_number(text, match)
    if match["words"]:
        value, plain = _english_value(match["words"].lower()), False
    else:
        value, plain = _digits_value(match), True
    if value is None:
        return None
    unit, end = _unit_after(text, end)
    before = _CURRENCY_BEFORE.search(text, max(0, start - 4), start)
    if before is not None:
        start, unit = (
            before.start(),
            ("EUR", "USD", "GBP", "CNY")[[bool(group) for group in before.groups()].index(True)],
        )
    return Number(start, end, value, unit, plain or unit is not None or value > 10)


def _han_number(text: str, match: re.Match[str]) -> Number | None:
    start, end = match.span("han")
    if text[max(0, start - 1) : start] in {"第", "周", "期", "拜", "週"}:
        return None  # third, Monday
    if match["han"] == "万一":
        return None  # in case
    value = _han_value(match["han"])
    if value is None:
        return None
    unit, end = _unit_after(text, end)
    counted = len(match["han"]) > 1 and not set(match["han"]).isdisjoint(_HAN_DIGITS)
    return Number(start, end, value, unit, unit is not None or counted)


def _unit_after(text: str, end: int) -> tuple[str | None, int]:
    found = _UNIT.match(text, end)
    if found is None or found.lastgroup is None:
        return None, end
    return _UNIT_NAMES[int(found.lastgroup[1:])], found.end()


def _digits_value(match: re.Match[str]) -> Decimal | None:
    try:
        digits = re.sub(r",(?=\d{3})", "", match["digits"]).replace(",", ".")  # 3,90 is 3.90 on the Continent
        value = Decimal(digits)
    except InvalidOperation:
        return None
    for scale in match["scale"] or "":
        value *= _HAN_SCALES[scale]
    if match["word_scale"]:
        value *= _SCALES[match["word_scale"].lower()]
    return value * 1000 if match["k"] else value


def _value_of(text: str) -> Decimal | None:
    return Decimal(text) if text[0].isascii() else _han_value(text)


def _han_value(text: str) -> Decimal | None:
    if all(character in _HAN_DIGITS for character in text):  # 二〇二四: digit by digit
        return Decimal("".join(str(_HAN_DIGITS[character]) for character in text))
    total = section = digit = 0
    for character in text:
        if character in _HAN_DIGITS:
            digit = _HAN_DIGITS[character]
            continue
        scale = _HAN_SCALES[character]
        if scale > 10_000:
            total, section, digit = (total + section + digit or 1) * scale, 0, 0
        elif scale == 10_000:
            total, section, digit = total + (section + digit or 1) * scale, 0, 0
        else:
            section += (digit or 1) * scale
            digit = 0
    return Decimal(total + section + digit)


def _english_value(words: str) -> Decimal:
    total = current = 0
    for word in re.split(r"[ -]+", words):
        if word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                current = (current or 1) * 100
            else:
                total, current = total + (current or 1) * scale, 0
        elif word != "and":
            current += _ONES.get(word, _TENS.get(word, 0))
    return Decimal(total + current)
