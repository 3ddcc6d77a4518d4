"""Circles in token ids: loops are noticed, what comes back on purpose is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.repetition import ParagraphWatch, repeats
from model_runtime.tokenizer import Tokenizer
from tests.model_runtime.conftest import TinyR1
from tests.support.tiny_r1_texts import PARAGRAPHS

pytestmark = pytest.mark.timeout(600)  # the first to come trains the tiny model


def noticed(ids: list[int] | tuple[int, ...]) -> int | None:
    """The length at which the watch ends it, token by token."""
    watch = ParagraphWatch()
    return next((end for end in range(1, len(ids) + 1) if watch.loops(ids[:end])), None)


@pytest.mark.parametrize("block", [49, 80, 150, 512, 1024])
def test_a_long_block_is_noticed_in_its_third_saying(block: int) -> None:
    """Of any length, too long for the quick watch: at the latest 2n + 336 tokens after it began, at a 64th token."""
    ids = [7, 8, 9, *range(1000, 1000 + block)] + list(range(1000, 1000 + block)) * 8
    at = noticed(ids)
    assert at is not None
    assert 2 * block < at <= 2 * block + 336
    assert at % 64 == 0
    assert not any(repeats(ids[:end]) for end in range(len(ids)))


def test_small_changes_and_something_between_hide_no_loop() -> None:
    """A counter that goes up, a bridge of a few words that is new each time."""
    block = list(range(1000, 1120))
    counted = [id_ for time in range(8) for id_ in (*block[:60], 5000 + time, *block[60:])]
    bridged = [id_ for time in range(8) for id_ in (*block, 6000 + time, 7000 + time, 8000 + time)]
    assert noticed(counted) is not None
    assert noticed(bridged) is not None


def test_an_answer_may_say_what_was_drafted() -> None:
    """Two drafts while it thinks and the answer are no loop; an answer that goes on so is one."""
    border, draft = 9, list(range(1000, 1300))
    drafts = [*draft, *draft, border]
    watch = ParagraphWatch(border)
    assert not any(watch.loops([*drafts, *draft][:end]) for end in range(902))
    assert ParagraphWatch(border).loops(drafts + draft * 4)
    assert ParagraphWatch().loops(drafts + draft)


@given(st.lists(st.integers(0, 3), max_size=400), st.integers(1, 70))
def test_pieces_never_change_the_verdict(ids: list[int], step: int) -> None:
    """Asked at every token or now and then, from the start or resumed, the verdict is that of the ids."""
    often, seldom, once = ParagraphWatch(), ParagraphWatch(), ParagraphWatch()
    for end in range(1, len(ids) + 1):
        found = often.loops(ids[:end])
        if end % step == 0 or end == len(ids):
            assert seldom.loops(ids[:end]) == found
    assert once.loops(ids) == often.loops(ids)


NAMES = (
    "Anna", "Bert", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Klara", "Leo", "Mia", "Noah",
    "Olga", "Paul", "Rosa", "Till", "Vera", "Wim",
)  # fmt: skip
TABLE_EN = "| name | opens | closes | phone | note |\n|---|---|---|---|---|\n" + "".join(
    f"| {name} | 09:00 | 17:00 | 030 {100 + i * 37} | closed on Sundays and public holidays |\n"
    for i, name in enumerate(NAMES)
)
TABLE_ZH = "| 门店 | 开门 | 关门 | 电话 | 备注 |\n|---|---|---|---|---|\n" + "".join(
    f"| {name}店 | 09:00 | 17:00 | 010 {100 + i * 37} | 周日和法定节假日休息 |\n" for i, name in enumerate(NAMES)
)
CODE = "".join(
    f"    def get_{name.lower()}(self) -> str:\n        if self._{name.lower()} is None:\n"
    f'            raise ValueError("{name} is not set")\n        return self._{name.lower()}\n\n'
    for name in NAMES
)
LIST_EN = "".join(f"{i}. Open the app, choose Settings, then {name}, and confirm.\n" for i, name in enumerate(NAMES))
LIST_ZH = "".join(f"{i}. 打开应用，选择设置，再选择{name}，然后确认。\n" for i, name in enumerate(NAMES))
VERSES_EN = (
    "The river took the bridge away and left the road alone", "The summer came with yellow dust on every garden stone",
    "My brother wrote from far away and asked me for the key", "The winter put a sheet of glass upon the silent sea",
    "A sailor sold me seven shells and told me seven lies", "The moon was thin as paper then and hung in empty skies",
)  # fmt: skip
POEM_EN = "".join(
    f"{verse},\nAnd nobody was there to see it go.\n"
    "Oh, carry me home, carry me home,\nCarry me home to the land that I know.\n\n"
    for verse in VERSES_EN
)
VERSES_ZH = (
    "河水带走了旧桥，只留下一条路", "夏天带着黄色的尘土，落满花园的石头", "哥哥从远方来信，向我要那把钥匙",
    "冬天把一块玻璃，铺在安静的海上", "水手卖给我七个贝壳，说了七个谎话", "月亮薄得像一张纸，挂在空空的天上",
)  # fmt: skip
POEM_ZH = "".join(
    f"{verse}，\n没有人看见它离开。\n请带我回家，请带我回家，\n回到我熟悉的地方。\n\n" for verse in VERSES_ZH
)


@pytest.mark.parametrize(
    "text",
    [TABLE_EN, TABLE_ZH, CODE, LIST_EN, LIST_ZH, POEM_EN, POEM_ZH],
    ids=["table-en", "table-zh", "code", "list-en", "list-zh", "poem-en", "poem-zh"],
)
def test_what_comes_back_on_purpose_is_no_circle(tokenizer: Tokenizer, tiny_r1: TinyR1, text: str) -> None:
    """Tables, code, lists and poems with a refrain, whatever the vocabulary, longer than the watch's window."""
    for ids in (tokenizer.encode(text), tiny_r1.tokenizer.encode(text)):
        assert len(ids) > 256
        assert noticed(ids) is None
        assert not any(repeats(ids[:end]) for end in range(len(ids)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_real_paragraph_is_noticed(tokenizer: Tokenizer, language: str) -> None:
    """In both languages, in the small model's own tokens."""
    assert noticed(tokenizer.encode(PARAGRAPHS[language] * 6)) is not None
