"""Word lists: every disguise is found, no innocent word is."""

from __future__ import annotations

import random
import time
from pathlib import Path

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.faults import PolicyFault
from policy.masking import MASK, replace_spans
from policy.normalise import normalise
from policy.words import ListedWord, WordList

WORDS = (
    "ass", "penis", "hell", "therapist", "beat", "god", "kill yourself", "idiot", "fuck", "88", "Straßenräuber",
    "傻逼", "发财", "妈的", "洗钱", "一目了然", "滚你的蛋", "信用卡套现", "头发", "爸爸活",
)  # fmt: skip
LIST = WordList(ListedWord(word, 2, "test") for word in WORDS)
LIST_WITH_EXCEPTION = WordList([*LIST.words, ListedWord("妈妈的", 0, "allowed")])
TRADITIONAL = {name: opencc.OpenCC(name) for name in ("s2t", "s2tw", "s2hk")}
MARKS = list(".-_*·/~|+。！、，…\u200b")


def found(text: str, words: WordList = LIST) -> list[str]:
    n = normalise(text)
    return [n.original[slice(*n.span(match.start, match.end))] for match in words.find(n)]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("kick ass softly", ["ass"]),
        ("ass seats", ["ass"]),
        ("banana ass", ["ass"]),
        ("A.S.S!", ["A.S.S"]),
        ("a s s", ["a s s"]),
        ("ＡＳＳ", ["ＡＳＳ"]),
        ("assss", ["assss"]),
        ("a\u200bs\u200bs", ["a\u200bs\u200bs"]),
        ("go to hell!", ["hell"]),
        ("gooood", ["gooood"]),
        ("idiiot", ["idiiot"]),
        ("p e n i s", ["p e n i s"]),
        ("kill   yourself fast", ["kill   yourself"]),
        ("k i l l y o u r s e l f", ["k i l l y o u r s e l f"]),
        ("STRASSENRAUBER", ["STRASSENRAUBER"]),
        ("傻。逼", ["傻。逼"]),
        ("你傻 逼啊", ["傻 逼"]),
        ("傻傻逼逼", ["傻傻逼逼"]),
        ("發　財", ["發　財"]),
        ("我是ass人", ["ass"]),
        ("他妈的", ["妈的"]),
        ("88", ["88"]),
        ("idiot and IDIOT", ["idiot", "IDIOT"]),
    ],
)
def test_a_disguised_word_is_found_where_it_stands(text: str, spans: list[str]) -> None:
    """The span slices the original text exactly, without its neighbours."""
    assert found(text) == spans


@pytest.mark.parametrize(
    "text",
    [
        "first class", "as good as gold", "has seen", "was as", "the pen is red", "the rapist", "he'll be at home",
        "I beat", "good", "shell", "1988", "8 8 0 1", "8.8", "第六，四川",
        "hello", "a shell, assess it", "passed\n\nseats",
    ],
)  # fmt: skip
def test_innocent_text_is_left_alone(text: str) -> None:
    """Parts of longer words, two words side by side, contractions and numbers are no matches."""
    assert [span for span in found(text) if span != "beat"] == []


def check(disguised: str, word: str, data: st.DataObject) -> None:
    """Found in a sentence, with a span that folds to the word; masking it leaves nothing to find."""
    before = data.draw(st.sampled_from(["", "well, ", "你好，", "see (", "12 "]))
    after = data.draw(st.sampled_from(["", "!", "，好吗", " today", ") ok"]))
    text = f"{before}{disguised}{after}"
    n = normalise(text)
    matches = LIST.find(n)
    assert matches, (text, word)
    spellings = {normalise(word).folded.text, normalise(TRADITIONAL["s2t"].convert(word)).folded.text}
    folded = [normalise(text[slice(*n.span(m.start, m.end))]).folded.text for m in matches]
    assert any(spelling in one for spelling in spellings for one in folded)
    masked = replace_spans(n.text, [(m.start, m.end, MASK) for m in matches])
    assert not LIST.find(normalise(masked)), masked


@given(st.sampled_from(WORDS[:9] + WORDS[10:]), st.data())
def test_marks_put_between_characters_never_hide_a_word(word: str, data: st.DataObject) -> None:
    """Any punctuation or zero-width character between any of its characters is looked through."""
    gaps = [data.draw(st.text(st.sampled_from(MARKS), max_size=3)) for _ in word]
    gaps[-1] = ""
    check("".join(c + gap for c, gap in zip(word, gaps, strict=True)), word, data)


@given(st.sampled_from(WORDS), st.data())
def test_width_and_case_never_hide_a_word(word: str, data: st.DataObject) -> None:
    """Full-width letters and any mixture of cases are the same word."""
    changed = [data.draw(st.sampled_from([c, c.upper(), chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c])) for c in word]
    check("".join(changed), word, data)


@given(st.sampled_from([w for w in WORDS if not w.isascii()]), st.sampled_from(sorted(TRADITIONAL)), st.data())
def test_the_traditional_script_never_hides_a_word(word: str, direction: str, data: st.DataObject) -> None:
    """Taiwan's and Hong Kong's forms are found too, whether converted by phrase or by character."""
    convert = TRADITIONAL[direction].convert
    by_character = "".join(convert(c) for c in word)
    check(data.draw(st.sampled_from([convert(word), by_character])), word, data)


@given(st.sampled_from([w for w in WORDS if w != "88"]), st.data())
def test_repeated_characters_never_hide_a_word(word: str, data: st.DataObject) -> None:
    """Characters repeated three times or more are found; doubled ones too in words of four letters or more."""
    least = 3 if word.isascii() and len(word) <= 3 else 2
    times = [data.draw(st.sampled_from([1, least, least + 2])) for _ in word]
    doubled = [i for i in range(len(word) - 1) if word[i] == word[i + 1]]
    for i in doubled:
        times[i] = times[i + 1] = max(times[i], times[i + 1])
    check("".join(c * t for c, t in zip(word, times, strict=True)), word, data)


@given(st.sampled_from(WORDS[:9] + WORDS[10:]), st.data())
def test_all_disguises_together_never_hide_a_word(word: str, data: st.DataObject) -> None:
    """Width, case, script, marks and repeats at once."""
    word_now = TRADITIONAL["s2t"].convert(word) if data.draw(st.booleans()) else word
    pieces = []
    for c in word_now:
        wide = chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and data.draw(st.booleans()) else c
        pieces.append(wide * data.draw(st.sampled_from([1, 1, 3])) if c != "s" else wide)
    gap = data.draw(st.sampled_from(MARKS))
    check(gap.join(pieces), word, data)


@given(st.text(st.sampled_from("as 我傻逼.ＡＳ'h\nel"), max_size=40))
def test_matches_are_bounded_ordered_and_apart(text: str) -> None:
    """Whatever the text: spans lie within it, in order; a match is never inside another of its level."""
    n = normalise(text)
    spans = [(m.start, m.end) for m in LIST.find(n)]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(n.text) for start, end in spans)
    assert not any(a != b and a[0] <= b[0] and b[1] <= a[1] for a in spans for b in spans)


def test_a_phrase_of_level_nought_excuses_what_stands_in_it() -> None:
    """ "妈妈的" (mother's) is fine although "妈的" is listed; elsewhere the word is found as ever."""
    assert found("我妈妈的手机", LIST_WITH_EXCEPTION) == []
    assert found("他妈的，我媽媽的手机", LIST_WITH_EXCEPTION) == ["妈的"]


def test_of_nested_words_the_sternest_and_longest_counts() -> None:
    """A stern word inside a mild one is reported as well; a mild one inside a stern one is not."""
    words = WordList([ListedWord("洗钱", 3, "a"), ListedWord("去洗钱吧", 1, "b"), ListedWord("洗", 1, "c")])
    n = normalise("快去洗钱吧")
    assert [(m.level, n.text[m.start : m.end]) for m in words.find(n)] == [(1, "去洗钱吧"), (3, "洗钱")]


def test_a_list_is_read_from_files(tmp_path: Path) -> None:
    """Comments, blank lines and a byte-order mark are fine; several lists add up."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("\ufeff# comment\n\nidiot\t1\tinsult\n", encoding="utf-8")
    second.write_text("洗钱\t3\tillegal\n", encoding="utf-8")
    words = WordList.load(first, second)
    assert words.words == (ListedWord("idiot", 1, "insult"), ListedWord("洗钱", 3, "illegal"))
    assert found("这个 IDIOT 洗錢", words) == ["IDIOT", "洗錢"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("idiot 1 insult", "tabs"),
        ("idiot\t4\tinsult", "level"),
        ("idiot\t1\t", "tabs"),
        ("!!!\t1\tinsult", "no letter"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    """The fault names file and line, and never the word."""
    path = tmp_path / "words.txt"
    path.write_text(f"# list\n{line}\n", encoding="utf-8")
    with pytest.raises(PolicyFault, match=f"words.txt:2: .*{complaint}") as fault:
        WordList.load(path)
    assert "idiot" not in fault.value.message.removeprefix(str(tmp_path))


def test_a_missing_or_undecodable_list_is_named(tmp_path: Path) -> None:
    """A list that is not there, or not UTF-8, is a PolicyFault with its path."""
    with pytest.raises(PolicyFault, match=r"nowhere\.txt: no such word list"):
        WordList.load(tmp_path / "nowhere.txt")
    (tmp_path / "gbk.txt").write_bytes("洗钱\t3\t非法\n".encode("gbk"))
    with pytest.raises(PolicyFault, match=r"gbk\.txt: cannot be read as UTF-8"):
        WordList.load(tmp_path / "gbk.txt")


def test_fifty_thousand_words_are_quick_to_build_and_to_search() -> None:
    """Built in a second or two of processor time, and a long message searched in milliseconds."""
    chance = random.Random(7)
    words = [
        "".join(chance.choices("abcdefghijklmnopqrst", k=7))
        if i % 2
        else "".join(chr(chance.randint(0x4E00, 0x9000)) for _ in range(3))
        for i in range(50_000)
    ]
    began = time.process_time()
    listed = WordList(ListedWord(word, 1, "x") for word in words)
    assert time.process_time() - began < 5
    text = "Hello how are you doing 今天天气很好 " * 120 + words[1]
    began = time.process_time()
    assert found(text, listed) == [words[1]]
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["a" * 4000 + "b" + "a" * 4000, "ab" * 4000, "a b " * 2000, "a." * 4000])
def test_hostile_repetition_costs_little(text: str) -> None:
    """No text makes the search slow."""
    words = WordList([ListedWord("aba", 1, "c"), ListedWord("aaa", 1, "c"), ListedWord("a b", 1, "c")])
    began = time.process_time()
    found(text, words)
    assert time.process_time() - began < 2
