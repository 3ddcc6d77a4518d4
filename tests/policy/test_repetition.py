"""Repetition: loops are found, lists and emphasis are not."""

from __future__ import annotations

import time

import pytest

from policy.repetition import find_repetition

EN = "You can return the item within 30 days of delivery if it is unworn and in its original box. "
ZH = "您可以在收到商品后三十天内退货，前提是商品未穿过并且包装完好。"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("The limit is " + "very " * 12 + "high.", "loop"),
        ("no, no, no, no, no, no, no", "loop"),
        ("and then and then and then and then and then", "loop"),
        ("Please contact us by phone. " * 3, "loop"),
        ("好的好的好的好的好的", "loop"),
        ("请联系客服。" * 4, "loop"),
        (EN * 3, "loop"),
        (ZH * 3, "loop"),
        (f"{EN}\nSomething else is said here.\n{EN}\n", "paragraph"),
        (f"{ZH}\n另外请注意运费。\n{ZH}", "paragraph"),
        (f"{EN} First. {EN} Second one. {EN} Third.", "sentence"),
    ],
)
def test_a_loop_is_found(text: str, sign: str) -> None:
    """Of words, of characters, of sentences and of paragraphs, in both languages."""
    repetition = find_repetition(text)
    assert repetition is not None
    assert repetition.sign == sign
    assert 0 <= repetition.start < repetition.end <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        EN + "Shipping costs are yours.",
        ZH + "运费由您承担。",
        "No, no, that is fine.",
        "哈哈哈哈",
        "谢谢，谢谢！",
        "Monday: 9-17. Tuesday: 9-17. Wednesday: 9-17. Thursday: 9-17. Friday: 9-17. Saturday: 9-12. Sunday: closed.",
        "1. Open the app.\n2. Open Settings.\n3. Open Limits.\n4. Choose the new limit.\n5. Confirm with your code.",
        "| a | 1 |\n|---|---|\n| b | 2 |\n| c | 3 |",
        "The fee is 5 EUR for 1 item, 10 EUR for 2 items, 15 EUR for 3 items and 20 EUR for 4 items. [1][1][1]",
        "----------------------------------------",
        "第一步打开应用，第二步打开设置，第三步打开限额，第四步确认。",
        "",
    ],
)
def test_lists_and_emphasis_are_no_loop(text: str) -> None:
    """What people write on purpose is left alone."""
    assert find_repetition(text) is None


def test_a_loop_with_small_changes_is_found() -> None:
    """A long text that turns in a circle has few distinct 4-grams, though no stretch repeats back to back."""
    text = " ".join(f"the card is blocked and the new card will come by post {i % 3} days later {i}" for i in range(8))
    repetition = find_repetition(text)
    assert repetition is not None
    assert repetition.sign == "few_distinct"


def test_the_first_saying_stays_outside_the_span() -> None:
    """The span begins with the first repeat."""
    text = "Call us now please. " * 4
    repetition = find_repetition(text)
    assert repetition is not None
    assert text[: repetition.start].strip() == "Call us now please."


def test_a_long_answer_is_judged_quickly() -> None:
    """Ten thousand different words take well under a second."""
    text = " ".join(f"w{i * 7919 % 10007}" for i in range(10_000))
    began = time.process_time()
    assert find_repetition(text) is None
    assert time.process_time() - began < 2
