"""Personal data: found in all its spellings, and not where a number is something else."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from policy.normalise import normalise
from policy.personal_data import find_personal_data


def found(text: str) -> list[tuple[str, str]]:
    n = normalise(text)
    return [(datum.kind, text[slice(*n.span(datum.start, datum.end))]) for datum in find_personal_data(n.text)]


@pytest.mark.parametrize(
    ("text", "kind", "span"),
    [
        ("我的手机是１３８００１３８０００，谢谢", "mobile", "１３８００１３８０００"),
        ("call +86 138 0013 8000 now", "mobile", "+86 138 0013 8000"),
        ("138-0013-8000", "mobile", "138-0013-8000"),
        ("0086 13800138000", "mobile", "0086 13800138000"),
        ("身份证11010519491231002X。", "id_number", "11010519491231002X"),
        ("id 110105 19491231 002x", "id_number", "110105 19491231 002x"),
        ("卡号4111 1111 1111 1111 2025", "bank_card", "4111 1111 1111 1111"),
        ("4111-1111-1111-1111 123", "bank_card", "4111-1111-1111-1111"),
        ("card 378282246310005", "bank_card", "378282246310005"),
        ("４１１１１１１１１１１１１１１１", "bank_card", "４１１１１１１１１１１１１１１１"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "bank_card", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ("DE89 3704 0044 0532 0130 00 BIC", "iban", "DE89 3704 0044 0532 0130 00"),
        ("gb29nwbk60161331926819", "iban", "gb29nwbk60161331926819"),
        ("邮箱是abc.d+e@ex-ample.co.uk吗", "email", "abc.d+e@ex-ample.co.uk"),
        ("ａｂｃ＠ｘ．ｃｏｍ", "email", "ａｂｃ＠ｘ．ｃｏｍ"),
        ("+1 (415) 555-2671", "phone", "+1 (415) 555-2671"),
        ("my number is 415-555-2671", "phone", "415-555-2671"),
        ("电话010-65529988", "phone", "010-65529988"),
        ("(021) 65529988转123", "phone", "(021) 65529988转123"),
        ("+49 30 901820", "phone", "+49 30 901820"),
        ("020 7946 0958", "phone", "020 7946 0958"),
        ("07700 900123", "phone", "07700 900123"),
        ("01 42 68 53 00", "phone", "01 42 68 53 00"),
    ],
)
def test_each_kind_is_found_with_its_exact_span(text: str, kind: str, span: str) -> None:
    """Separators, full-width digits and neighbours make no difference; nothing else is found beside it."""
    assert found(text) == [(kind, span)]


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02 10:30", "on 01-02-2024", "01.02.2024 12:00", "20261123101407", "2020-2024", "10:30-12:30",
        "order 0123456789", "Order number: 13800138000", "订单号13800138000", "快递单号：13800138000", "#13800138000",
        "13800138000元", "¥13800138000", "$13,800,138,000", "13912345678.50", "10,000 EUR", "1,234,567.89",
        "0123 4567 EUR", "4111111111111112", "6222 0212 3456 7890 123", "11010519491231002Y0", "110105194912310021",
        "ISBN 978-7-111-12345-6", "version 1.10.3", "192.168.0.1", "between 100 and 200 of 300", "see @home.",
        "DE89 3704 0044 0532 0130 01", "12 months 30 days 2024", "IMG_20240102_103000",
    ],
)  # fmt: skip
def test_other_numbers_are_no_personal_data(text: str) -> None:
    """Dates, times, amounts, order numbers and numbers whose checksum is wrong are left alone."""
    assert found(text) == []


def test_the_most_specific_of_equal_spans_wins() -> None:
    """A number that is a valid ID and a valid card is an ID; a mobile is not merely a phone."""
    both = next(
        number + check
        for serial in range(1000)
        for number in [f"62010219900101{serial:03d}"]
        for check in [ric.calc_check_digit(number + "0")]
        if check.isdigit() and luhn.is_valid(number + check)
    )
    assert found(both) == [("id_number", both)]
    assert [kind for kind, _ in found("+8613800138000")] == ["mobile"]


def test_two_neighbours_are_two() -> None:
    """Two of a kind, and two kinds, in one sentence."""
    assert [kind for kind, _ in found("010 6552 9988 and a@b.cn or 13800138000, 13900139000")] == [
        "phone", "email", "mobile", "mobile",
    ]  # fmt: skip


def test_the_key_is_the_same_however_it_is_written() -> None:
    """A number in the answer and the same one in the question compare equal."""
    keys = {find_personal_data(text)[0].key for text in ("+86 138 0013 8000", "138-0013-8000", "0086 13800138000")}
    assert len(keys) == 1


@given(
    st.from_regex(r"(4[0-9]{3}|5[1-5][0-9]{2}|62[0-9]{2})[0-9]{11}", fullmatch=True),
    st.sampled_from(["", " ", "-"]),
    st.booleans(),
    st.sampled_from(["", "卡号", "card: "]),
)
def test_every_card_with_a_luhn_digit_is_found(head: str, separator: str, wide: bool, before: str) -> None:
    """However its sixteen digits are grouped and whatever their width."""
    number = head + luhn.calc_check_digit(head)
    written = separator.join(number[i : i + 4] for i in range(0, 16, 4))
    if wide:
        written = written.translate({ord("0") + i: ord("０") + i for i in range(10)})
    assert ("bank_card", written) in found(f"{before}{written}，")


@given(st.text(st.sampled_from("0123456789+-() .@aX/，元$"), max_size=80))
def test_spans_are_in_order_and_apart(text: str) -> None:
    """Whatever the text, what is found does not overlap and lies within it."""
    data = find_personal_data(text)
    assert all(0 <= d.start < d.end <= len(text) and d.key for d in data)
    assert all(one.end <= other.start for one, other in pairwise(data))


@pytest.mark.parametrize(
    "text",
    ["1 " * 4000, "4" * 8000, "a.b" * 2600 + "@", "0 1-2/3 " * 1000, "GB29 NWBK " * 800, "+1 2 3" * 1300, "0-" * 4000],
)
def test_hostile_text_costs_little(text: str) -> None:
    """No text makes a pattern slow."""
    began = time.process_time()
    find_personal_data(text)
    assert time.process_time() - began < 2
