"""Dates and days of the week as they are written in English and Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Date", "Weekday", "find_dates", "find_weekdays"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DATE = re.compile(
    r"(?<![A-Za-z\d-])(?P<y1>\d{4})[-/.](?P<m1>\d{1,2})[-/.](?P<d1>\d{1,2})(?!\d)"
    r"|(?<!\d)(?:(?P<y2>\d{4})年)?(?P<m2>\d{1,2})月(?:(?P<d2>\d{1,2})[日号號])"
    r"|(?P<y3>\d{4})年(?:(?P<m3>\d{1,2})月(?!\d))?"
    rf"|\b(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m4>{_MONTH})(?:,? (?P<y4>\d{{4}})\b)?"
    rf"|\b(?P<m5>{_MONTH}) (?P<d5>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d|[:.]\d)(?:,? (?P<y5>\d{{4}})\b)?"
    rf"|\b(?P<m6>{_MONTH}),? (?P<y6>\d{{4}})\b"
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = re.compile(
    r"\b(?P<en>(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?s?)\b|(?:星期|周|礼拜|週)(?P<zh>[一二三四五六日天])"
)
_RANGE = re.compile(r"\s*(?:to|till|until|through|–|—|-|至|到)\s*$")


@dataclass(frozen=True, slots=True)
class Date:
    """``text[start:end]``; fields that are not named are None."""

    start: int
    end: int
    year: int | None
    month: int | None
    day: int | None

    def supports(self, claim: Date) -> bool:
        """Whether a date that stands in a source allows the claim: all that it names is the same here."""
        pairs = ((claim.year, self.year), (claim.month, self.month), (claim.day, self.day))
        return all(said is None or said == known for said, known in pairs)


@dataclass(frozen=True, slots=True)
class Weekday:
    """``text[start:end]``; ``day`` is 0 for Monday."""

    start: int
    end: int
    day: int


def find_dates(text: str) -> list[Date]:
    """All dates of a text in order; a year alone is one in Chinese (2024年), a mere number in English."""
    found: list[Date] = []
    for match in _DATE.finditer(text):
        parts = {name[0]: value for name, value in match.groupdict().items() if value}
        month = parts.get("m")
        number = None if month is None else int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
        year, day = parts.get("y"), parts.get("d")
        if (number is None or 1 <= number <= 12) and (day is None or 1 <= int(day) <= 31):
            found.append(
                Date(match.start(), match.end(), int(year) if year else None, number, int(day) if day else None)
            )
    return found


def find_weekdays(text: str) -> list[Weekday]:
    """All days of the week in order. Of a span of days (Monday to Friday) those in between follow its last."""
    found: list[Weekday] = []
    for match in _WEEKDAY.finditer(text):
        if match["en"]:
            day = _DAYS.index(match["en"][:3].lower())
        else:
            day = "一二三四五六日".index(match["zh"].replace("天", "日"))
        before = found[-1] if found else None
        found.append(Weekday(match.start(), match.end(), day))
        if before is not None and _RANGE.fullmatch(text, before.end, match.start()):
            between = range(1, (day - before.day) % 7)
            found.extend(Weekday(match.start(), match.end(), (before.day + step) % 7) for step in between)
    return found
