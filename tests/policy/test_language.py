"""Language: of short and mixed messages, and whether an answer is in the one that was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.language import detect, wrong_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I return shoes?", "en"),
        ("refund?", "en"),
        ("hi", "en"),
        ("iPhone 15 return", "en"),
        ("How do I say 你好 in English", "en"),
        ("Please transfer 人民币 to my account at 招商银行", "en"),
        ("no refund no card", "en"),
        ("退货", "zh"),
        ("我的iPhone坏了", "zh"),
        ("帮我check一下order status", "zh"),
        ("我想return这个item", "zh"),
        ("Visa卡", "zh"),
        ("SWIFT码是什么", "zh"),
        ("我的信用卡帳號在哪裡查", "zh"),
        ("カードを止めたい", "ja"),
        ("카드 분실", "ko"),
        ("Как заблокировать карту?", "ru"),
        ("Wie kann ich meine Karte sperren?", "de"),
        ("Comment puis-je bloquer ma carte ?", "fr"),
        ("¿Cómo bloqueo mi tarjeta?", "es"),
        ("Quero cancelar o meu cartão", "pt"),
        ("123 😀 !!", "und"),
        ("", "und"),
    ],
)
def test_the_language_of_a_message(text: str, language: str) -> None:
    """By scripts and function words, also where Latin names stand in Chinese text."""
    assert detect(text) == language


@pytest.mark.parametrize(
    ("answer", "expected", "wrong"),
    [
        ("You have 30 days from delivery. [1]", "en", False),
        ("You have 30 days from delivery. [1]", "zh", True),
        ("您有30天时间退货。[1]", "en", True),
        ("您有30天时间退货。[1]", "zh", False),
        ("请登录 Lantern App，点 Settings 里的 Limits。", "zh", False),
        ("iPhone 15 Pro", "zh", False),
        ("The clause 「七天无理由退货」 applies to your order in this case.", "en", False),
        ("退货", "en", True),
        ("42", "zh", False),
        ("可以。[citation:1][citation:2][citation:3]", "zh", False),
        ("```python\nprint('hello to all of you')\n```\n这样写就可以。", "zh", False),
        ("Sie haben dreißig Tage Zeit, um die Ware zurückzugeben.", "en", True),
        ("You can return it within the time.", "de", True),
        ("anything at all that is English", "und", False),
    ],
)
def test_an_answer_in_another_language_is_noticed(answer: str, expected: str, wrong: bool) -> None:
    """Names, numbers, code and short quotations do not count against it."""
    assert wrong_language(answer, expected) is wrong


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """A code of two letters or ``und``; a text is never in another language than its own."""
    language = detect(text)
    assert language == "und" or len(language) == 2
    assert not wrong_language(text, "und")
