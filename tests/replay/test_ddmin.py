"""Delta debugging: what is left does it, and no single item of it can be left out."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from replay.ddmin import ddmin

Part = tuple[int, ...]


def _driven(count: int, does: Callable[[frozenset[int]], bool]) -> tuple[Part, list[Part]]:
    """What is left of the numbers below ``count``, and all that was asked."""
    asked: list[Part] = []
    running = ddmin(range(count))
    try:
        part = next(running)
        while True:
            asked.append(part)
            part = running.send(does(frozenset(part)))
    except StopIteration as stopped:
        return stopped.value, asked


@given(st.integers(1, 24), st.data())
def test_a_set_of_causes_is_found_exactly(count: int, data: st.DataObject) -> None:
    """Where all of some items are needed together, they are what is left, in their order."""
    causes = data.draw(st.frozensets(st.integers(0, count - 1)))
    left, _ = _driven(count, causes.issubset)
    assert left == tuple(sorted(causes))


@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_what_is_left_is_one_minimal_whatever_the_answers(count: int, random: object) -> None:
    """Also for tests that follow no rule: it does it, without any one item it does not, and nothing is asked twice."""
    table: dict[frozenset[int], bool] = {frozenset(range(count)): True}

    def does(part: frozenset[int]) -> bool:
        return table.setdefault(part, random.random() < 0.4)  # type: ignore[attr-defined]

    left, asked = _driven(count, does)
    assert table[frozenset(left)]
    assert not any(does(frozenset(left) - {item}) for item in left)
    assert len(asked) == len(set(asked))
    assert list(left) == sorted(left)


def test_one_cause_of_many_takes_few_questions() -> None:
    """About twice the logarithm, and not one for each item."""
    left, asked = _driven(1024, lambda part: 700 in part)
    assert left == (700,)
    assert len(asked) <= 2 * 10 + 1
