from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge_base.claims import unsupported_claims
from knowledge_base.numbers import find_numbers
from tests.knowledge_base.conftest import passage

SOURCE = (
    passage(
        "Shoes can be sent back within 30 days. Each parcel costs 3.90 EUR. The limit is 10,000 EUR, the fee 2%. The "
        "line is open Monday to Friday from 8 a.m. to 8 p.m. Prices hold until 31 January 2027. "
        "Refunds take 5 working days.",
        title="Lantern returns",
        section="Online orders",
    ),
)
QUELLE = (
    passage(
        "30天内可以退货，每个包裹收3.90欧元，上限10,000欧元，手续费2%。周一至周五8:00至20:00。有效期至1月31日。请打开App，点“退货”。",
        title="灯笼退货",
        language="zh",
    ),
)


def _said(answer: str, language: str, question: str = "") -> list[tuple[str, str]]:
    claims = unsupported_claims(answer, QUELLE if language == "zh" else SOURCE, question, language)
    return [(claim.kind, answer[claim.start : claim.end]) for claim in claims]


@pytest.mark.parametrize(
    ("answer", "language"),
    [
        ("You have thirty days and pay €3.90, at most 10000 euros; the fee is two percent. [1]", "en"),
        ("1. Call on Tuesday before 20:00.\n2. It ends on January 31st, 2027, or Jan 31.", "en"),
        ("At Lantern, Returns of Shoes take Five Working Days. I am sure it is one of them.", "en"),
        ("您好，30天内可退，2%,30天。", "zh"),
        ("您有三十天时间，每个包裹3.9欧元，最多一万欧元（1万），手续费百分之二。[1]", "zh"),
        ("周三晚上8点前，一月三十一日之前，请在APP里点“退货”。第三方也一样，十分方便，万一不行请联系我们。", "zh"),
    ],
)
def test_the_same_value_in_other_words_is_supported(answer: str, language: str) -> None:
    """Numerals, words, units, clocks, dates and days of the week are compared by meaning."""
    assert _said(answer, language) == []


@pytest.mark.parametrize(
    ("answer", "language", "expected"),
    [
        ("You have 60 days.", "en", [("number", "60 days")]),
        ("It takes 30 hours and $3.90.", "en", [("number", "30 hours"), ("number", "$3.90")]),
        ("Refunds take 5 days.", "en", [("number", "5 days")]),
        ("It costs 2 EUR, or forty euros.", "en", [("number", "2 EUR"), ("number", "forty euros")]),
        ("Call on Sunday or by 9 p.m.", "en", [("date", "Sunday"), ("number", "9 p.m.")]),
        ("It ends on 31 March 2027.", "en", [("date", "31 March 2027")]),
        ("Ask John Smith at Barclays about shoes.", "en", [("name", "John Smith"), ("name", "Barclays")]),
        ("PayPal works. See www.lantern.example or a@b.example.", "en",
         [("name", "PayPal"), ("name", "www.lantern.example"), ("name", "a@b.example")]),
        ("您有六十天，周六也行，2月1日截止。", "zh", [("number", "六十天"), ("date", "周六"), ("date", "2月1日")]),
        ("请点“申请售后”，用Apple Pay付款。", "zh", [("name", "“申请售后”"), ("name", "Apple Pay")]),
    ],
)  # fmt: skip
def test_what_stands_nowhere_is_found(answer: str, language: str, expected: list[tuple[str, str]]) -> None:
    """Another value, unit, currency, day, name or address than the sources' is a claim of the answer's own."""
    assert _said(answer, language) == expected


def test_what_the_question_says_may_be_repeated() -> None:
    """Names and numbers of the question are no inventions."""
    assert _said("Yes, Anna, 7 pairs are fine.", "en", "I am Anna and have 7 pairs, is that fine?") == []


@settings(deadline=None)
@given(
    st.text(alphabet="０12,.三十百万亿%€元天 pmonehundredMayA月日周“”：:-[]", max_size=40),
    st.sampled_from(["en", "zh"]),
)
def test_claims_never_overlap_and_always_slice(answer: str, language: str) -> None:
    """Any text is judged without an error; spans are within it, in order and apart."""
    claims = unsupported_claims(answer, (), "", language)
    assert all(0 <= claim.start < claim.end <= len(answer) for claim in claims)
    assert all(a.end <= b.start for a, b in pairwise(claims))
    assert unsupported_claims(answer, (), answer, language) == []


@settings(deadline=None)
@given(st.integers(0, 10**12))
def test_a_number_is_read_alike_however_it_is_grouped(value: int) -> None:
    """Grouping by commas and full-width digits change nothing."""
    wide = str(value).translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    for written in (str(value), f"{value:,}", wide):
        assert [int(number.value) for number in find_numbers(f"x {written} y")] == [value]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("一万", 10000), ("1.5万", 15000), ("三十五", 35), ("一百零五", 105), ("两千", 2000), ("十二", 12),
        ("一亿二千万", 120000000),
        ("二〇二六", 2026), ("one hundred and fifty", 150), ("twenty-five", 25), ("two thousand", 2000),
        ("3 million", 3000000),
    ],
)  # fmt: skip
def test_numerals_and_number_words(written: str, value: int) -> None:
    """Chinese numerals and English number words have the value a reader gives them."""
    assert [int(number.value) for number in find_numbers(written)] == [value]
