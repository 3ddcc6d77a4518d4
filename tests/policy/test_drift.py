"""Drift: an answer that goes over to another language is noticed early, one that quotes or names is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.drift import LanguageDrift

EN = "You can send the shoes back within 30 days when they are in their box. The money comes to your account. "
ZH = "您可以在三十天里把鞋子退回来，它们要在原来的盒子里。退款会回到您的账户。"
DE = "Sie können die Schuhe in dreißig Tagen zurückgeben, wenn sie noch in der Schachtel sind. "
CLAUSE_ZH = "您在收到商品以后的三十天里可以退货，我们会把退款打到您付款的账户。"


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("en", ZH),
        ("zh", EN),
        ("en", EN + ZH),
        ("zh", ZH + EN),
        ("en", DE * 2),
        ("zh", "好的。\n" + EN),
        ("en", "Yes. [1]\n\n" + ZH),
        ("en", "カードを止めたい場合は、アプリを開いて設定を選んでください。それから新しいカードを注文してください。"),
        ("zh", "- " + EN.replace(". ", ".\n- ")),
    ],
)  # fmt: skip
def test_a_stretch_in_another_language_is_noticed(expected: str, answer: str) -> None:
    """From the first word or half way, in lists too, and before much more of it is said."""
    drift = LanguageDrift(expected)
    at = next((i for i, c in enumerate(answer + "\n") if drift.feed(c)), None)
    assert at is not None


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("en", EN * 3),
        ("zh", ZH * 3),
        ("und", ZH + EN),
        ("en", f"The clause says: 「{CLAUSE_ZH}」 It holds for your order. The sign reads “{CLAUSE_ZH}” in red."),
        ("zh", f'原文是："{EN}" 意思是您可以退货。'),
        ("en", f"The passage says:\n\n> {CLAUSE_ZH}\n> {ZH}\n\nSo you can send it back. [1]"),
        ("zh", "```python\n# this is the code that you run on it\nprint('how are you')\n```\n这样就行。"),
        ("zh", "请运行 `git commit -a -m 'what is in the box and where is it'`，然后等待。"),
        ("zh", "可选的型号：\n- Samsung Galaxy S24 Ultra Edition\n- Apple iPhone 15 Pro Max Titanium\n"),
        ("en", "Our banks:\n- 中国工商银行股份有限公司\n- 中国建设银行股份有限公司\n- 招商银行股份有限公司上海分行\n"),
        ("zh", "1. 12345.67 EUR [1][2]\n2. 98.0 USD [3]\n3. 100 kg\n"),
        ("zh", "请登录 Lantern App，点 Settings 里的 Limits。再点 Daily transfer limit of the account，最后确认。"),
        ("en", "A screen of 27\" is fine. The other one of 24\" too, and you can send it back."),
        ("zh", "详情见 https://example.com/how-to-return-what-you-have-bought-from-us 和 help@example.com。"),
        ("en", "OK."),
        ("zh", ""),
    ],
)  # fmt: skip
def test_quotes_code_names_and_numbers_are_no_drift(expected: str, answer: str) -> None:
    """What belongs to a good answer in its own language."""
    assert not LanguageDrift(expected).feed(answer + "\n")


def test_a_passage_said_word_for_word_is_no_drift() -> None:
    """The sentences of a source count as quoted, however its lines were broken."""
    broken = EN.replace("days when", "days\n when")
    assert LanguageDrift("zh").feed(EN)
    assert not LanguageDrift("zh", [broken]).feed("原文说：\n" + EN)
    cited = "- " + EN.replace(". ", " [citation:1].\n- ")
    assert LanguageDrift("zh").feed(cited)
    assert not LanguageDrift("zh", [broken]).feed(cited)


def test_a_quotation_that_is_never_closed_ends_with_its_paragraph() -> None:
    """So that one sign does not switch the watch off."""
    assert LanguageDrift("en").feed(f"He said “yes and left.\n\n{ZH}")


def test_a_foreign_sentence_within_the_answer_is_let_pass() -> None:
    """One short aside, when the answer goes on in its own language."""
    assert not LanguageDrift("en").feed(f"{EN}这样就可以了。{EN}这样就可以了。{EN}")


@given(st.sampled_from([EN, ZH, DE, "「", "“", '"', "```", "\n", "> ", "5", "[1]", "🙂"]).flatmap(
    lambda first: st.lists(st.sampled_from([first, EN, ZH, DE, "「", "」", '"', "```", "\n", "> ", "5"]), max_size=8)
), st.sampled_from(["en", "zh", "de", "und"]), st.data())  # fmt: skip
def test_pieces_never_change_what_is_noticed(parts: list[str], expected: str, data: st.DataObject) -> None:
    """Fed whole, by character or cut anywhere, the verdict is that of the text."""
    text = "".join(parts)
    cut = data.draw(st.integers(0, len(text)))
    halves, single = LanguageDrift(expected), LanguageDrift(expected)
    halves.feed(text[:cut])
    by_character = [single.feed(character) for character in text]
    assert halves.feed(text[cut:]) == LanguageDrift(expected).feed(text) == (by_character or [False])[-1]
    assert LanguageDrift("und").feed(text) is False
