"""The gate: however an answer is cut into pieces, what is shown is what the review would leave of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.steps import Finding
from policy.masking import MASK
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.stream_gate import LONGEST_HELD, StreamGate
from policy.template_tokens import FAMILY_TOKENS
from policy.words import ListedWord, WordList

EXAMPLES = Path(__file__).parents[2] / "examples" / "help"
LISTS = {"words": ["words/en.txt", "words/zh.txt"]}
MASKING = dict.fromkeys(("word_level_3", "template_tokens", "reasoning_leak"), "mask")
POLICY = Policy.build(LISTS, EXAMPLES)
MASKS_ALL = Policy.build({**LISTS, "output": MASKING}, EXAMPLES)
WORDS = [w.word for w in WordList.load(EXAMPLES / "words" / "en.txt", EXAMPLES / "words" / "zh.txt").words]
TRADITIONAL = opencc.OpenCC("s2t").convert
OWN_TOKENS = ("<｜User｜>", "<reponame>", "Human:")
TOKENS = [
    *OWN_TOKENS,
    *FAMILY_TOKENS,
    "<|im_start|>",
    "<|x|>\u0338",
    "</think>",
    "< / THINK >",
    "＜think＞",
    "[IN\x00ST]",
]
DATA = [
    "13800138000", "１３８００１３８０００", "+86 138 0013 8000", "0086 13800138000", "11010519491231002X",
    "110105 19491231 002x", "4111 1111 1111 1111", "4111-1111-1111-1111 123", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "DE89 3704 0044 0532 0130 00", "gb29nwbk60161331926819", "abc.d+e@ex-ample.co.uk", "o'neil@x.org",
    "ａｂｃ＠ｘ．ｃｏｍ", "+1 (415) 555-2671", "415-555-2671", "010-65529988", "(021) 65529988转123", "020 7946 0958",
    "+353 20 910 0100", "01 42 68 53 00", "٠١٠-٦٥٥٢٩٩٨٨",
]  # fmt: skip
INNOCENT = [
    "13800138000元", "13800138000 EUR", "13800138000.50", "order number: 13800138000", "订单号13800138000",
    "$13800138000", "2024-01-02 10:30", "on 01.02.2024", "10:30-12:30", "AB12 is a gate",
    "page 24 of 30, 5 days", "1, 2, 3", "e\u0301te\u0301", "8:00到20:00", "see @home", "x < y > z", "a|b",
    "it's", "he'll", "1 2 3 4 5", "4111111111111112", "\u1112\u1161\u11ab", "か\u3099", "\r\n", "\r",
    "\r\u200b\n\u0301", "\u200b", "\u0301", "，", "。", " ", "  ", "\n", "-", "_", "@", "+", "(", ")", ".", "<",
    "[", "a", "i", "s", "dumb", "passable", "傻", "洗", "13", "4", "0", "x", "ext. ", "转", "EUR", "USDx",
    "dollars", "The number is ", "您的电话是", "DE", "mail", "X", "ß", "㎏", "ﬁ", "😀", "5" * 45, "w" * 70,
    "…" * 14,
]  # fmt: skip


def dressed(word: str, chance: random.Random) -> str:
    """The word in one of its disguises."""
    marks = chance.choice(["", "", ".", "\u200b", "-", "*", " " if not word.isascii() else "·", "\u0301"])
    text = TRADITIONAL(word) if chance.random() < 0.4 else word
    if chance.random() < 0.3:
        text = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    if chance.random() < 0.3:
        text = text.upper()
    return "".join(c * chance.choice([1, 1, 1, 3]) + (marks if c != " " else "") for c in text)


def made_text(chance: random.Random) -> str:
    """Forbidden and innocent stretches, with or without a space between."""
    pieces: list[str] = []
    for _ in range(chance.randint(1, 7)):
        kind = chance.random()
        if kind < 0.25:
            pieces.append(dressed(chance.choice(WORDS), chance))
        elif kind < 0.5:
            pieces.append(chance.choice(DATA))
        elif kind < 0.6:
            pieces.append(chance.choice(TOKENS))
        else:
            pieces.append(chance.choice(INNOCENT))
        pieces.append(chance.choice(["", "", " ", "，", ". ", " and "]))
    return "".join(pieces)


def pieces_of(text: str, cuts: Sequence[int]) -> list[str]:
    places = [0, *sorted(cuts), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


def flow(policy: Policy, pieces: Sequence[str]) -> tuple[list[str], bool]:
    gate = StreamGate(policy, OWN_TOKENS)
    shown = [gate.feed(piece) for piece in pieces]
    return [*shown, gate.close()], gate.stopped


def reviewed(policy: Policy, text: str) -> tuple[Finding, ...]:
    """What the review finds of that which the gate looks for."""
    found = policy.check_output(
        text,
        question="",
        passages_text="",
        expected_language="",
        finish_reason="stop",
        template_tokens=OWN_TOKENS,
        quoted=True,
    )
    return tuple(f for f in found if f.rule != "empty")


def expected(policy: Policy, text: str) -> tuple[str, bool]:
    """What may be shown of the text, and whether something in it stops."""
    findings = reviewed(policy, text)
    stern = [f for f in findings if f.action not in ("pass", "mask")]
    end = min((f.start for f in stern), default=len(text))
    for finding in reversed(findings):
        end = finding.start if finding.start < end < finding.end else end
    return policy.mask(text[:end], [f for f in findings if f.end <= end]), bool(stern)


def check(policy: Policy, text: str, pieces: Sequence[str], wanted: tuple[str, bool]) -> None:
    shown, stopped = flow(policy, pieces)
    assert ("".join(shown), stopped) == wanted, (text, pieces)


def ways(text: str, chance: random.Random) -> Iterator[list[str]]:
    """Every cut in two, every character by itself, and some at random."""
    yield list(text)
    for at in range(len(text) + 1):
        yield pieces_of(text, [at])
    for _ in range(5):
        yield pieces_of(text, [chance.randint(0, len(text)) for _ in range(chance.randint(1, 8))])


@pytest.mark.parametrize("policy", [POLICY, MASKS_ALL], ids=["stops", "masks"])
@pytest.mark.parametrize("stretch", [*WORDS, *DATA, *TOKENS])
def test_each_forbidden_stretch_at_each_cut(policy: Policy, stretch: str) -> None:
    """Plain and dressed up, alone and in a sentence: nothing of it is shown, and everything else is."""
    chance = random.Random(stretch)
    for text in (stretch, f"Well, {stretch} ok", f"好的{dressed(stretch, chance)}。再见"):
        wanted = expected(policy, text)
        for pieces in ways(text, chance):
            check(policy, text, pieces, wanted)


@pytest.mark.parametrize("policy", [POLICY, MASKS_ALL], ids=["stops", "masks"])
@settings(deadline=None)  # a text is cut in some hundred ways
@given(seed=st.integers(0, 2**32))
def test_what_is_shown_is_what_the_review_would_leave(policy: Policy, seed: int) -> None:
    """Stretches side by side and in one another's way: masked exactly as the whole, up to what stops."""
    chance = random.Random(seed)
    text = made_text(chance)
    wanted = expected(policy, text)
    for pieces in ways(text, chance):
        check(policy, text, pieces, wanted)


_ODD = "as傻逼 .1３8-+@()xX<|>[]/Ithink\u0301\u0338\u200b\r\n'，转ß㎏\u1112\u1161\u3099か\u0345"


@given(st.lists(st.text(st.sampled_from(_ODD), max_size=6), max_size=12))
def test_any_characters_in_any_order(pieces: list[str]) -> None:
    """Marks that join, newlines in halves, digits and brackets."""
    text = "".join(pieces)
    check(MASKS_ALL, text, pieces, expected(MASKS_ALL, text))
    check(MASKS_ALL, text, list(text), expected(MASKS_ALL, text))


def test_what_is_forbidden_is_covered_or_never_shown() -> None:
    """A mask in its place where the policy masks; where it is sterner, the text ends before it."""
    assert "".join(flow(POLICY, list("Call 13800138000, you idiot! Fine."))[0]) == f"Call {MASK}, you {MASK}! Fine."
    shown, stopped = flow(POLICY, ["Buy a fake pass", "port here", " and now"])
    assert ("".join(shown), stopped) == ("Buy a ", True)


def test_what_passes_is_shown_as_it_is() -> None:
    """An action of ``pass`` delays nothing: no character is held back."""
    output = dict.fromkeys((*MASKING, "word_level_1", "word_level_2", "personal_data_new"), "pass")
    policy = Policy.build({**LISTS, "output": output}, EXAMPLES)
    assert flow(policy, ["你这个傻", "逼，138001", "38000."])[0][:2] == ["你这个傻", "逼，138001"]


def test_the_same_feeds_give_the_same_pieces() -> None:
    """So a reader may go on at another gateway that feeds its own gate again from the beginning."""
    pieces = pieces_of("The number is +353 20 910 0100, you idiot! 傻 逼，再见。", range(3, 40, 5))
    assert flow(POLICY, pieces) == flow(POLICY, pieces)


def test_a_reader_waits_for_little() -> None:
    """Ordinary Chinese is shown as it comes, ordinary English when a word is over."""
    gate = StreamGate(POLICY)
    assert [gate.feed(c) for c in "邮件请寄到"] == list("邮件请寄到")
    assert [gate.feed(c) for c in "are open "] == ["", "", "", "are ", "", "", "", "", "open "]


@pytest.mark.parametrize(("one", "times"), [("7", 9999), ("ab", 5000), ("7 EUR, ", 1500), ("好", 9999), (" ", 9999)])
def test_what_goes_on_for_ever_is_shown_all_the_same(one: str, times: int) -> None:
    """From some length on it is in nothing that is sought."""
    text = one * times
    began = time.process_time()
    check(POLICY, text, pieces_of(text, range(4, len(text), 4)), (text, False))
    assert time.process_time() - began < 30


@pytest.mark.parametrize(("first", "one"), [("", "傻"), ("", "1 2 "), ("<", " "), ("", "i"), ("e", "\u0301")])
def test_what_must_be_held_for_ever_stops_the_gate(first: str, one: str) -> None:
    """No memory and no time without bound: the rest is the review's."""
    text = first + one * 3000
    gate, began = StreamGate(POLICY), time.process_time()
    shown = "".join(gate.feed(piece) for piece in pieces_of(text, range(4, len(text), 4)))
    assert gate.stopped
    assert len(shown) <= 1
    assert gate.feed("more") == gate.close() == ""
    assert time.process_time() - began < 10


def test_an_address_of_the_longest_kind_is_held_whole() -> None:
    """``LONGEST_HELD`` leaves room for it."""
    address = f"{'a' * 64}@{'.'.join(['b' * 63] * 8)}.example"
    assert len(address) < LONGEST_HELD
    check(POLICY, f"x {address} y", list(f"x {address} y"), (f"x {MASK} y", False))


def test_fifty_thousand_words_are_built_in_a_second_and_a_feed_costs_little() -> None:
    """Neither depends on how long the answer is already."""
    chance = random.Random(7)
    listed = [ListedWord("".join(chance.choices("abcdefghijklmnopqrst", k=7)), 1, "x") for _ in range(25_000)]
    listed += [ListedWord("".join(chr(chance.randint(0x4E00, 0x9000)) for _ in "123"), 1, "x") for _ in range(25_000)]
    policy = Policy(PolicyRules(), WordList(listed))
    began = time.process_time()
    gate = StreamGate(policy)
    gate.feed("a")
    assert time.process_time() - began < 2
    pieces = pieces_of("Hello how are you doing 今天天气很好。" * 200, range(4, 6000, 4))
    began = time.process_time()
    for piece in pieces:
        gate.feed(piece)
    assert (time.process_time() - began) / len(pieces) < 0.002


@settings(max_examples=20)
@given(st.text(st.sampled_from("ιabά傻 .\u0345\u0301"), max_size=12))
def test_words_that_begin_with_a_mark_s_letter(text: str) -> None:
    """A combining iota folds to a letter; where a listed word begins with it, no character is over at once."""
    policy = Policy(PolicyRules(), WordList([ListedWord("ιab", 1, "x")]))
    check(policy, text, list(text), expected(policy, text))
