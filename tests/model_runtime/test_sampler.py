"""Drawing tokens, and noticing circles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_runtime.repetition import repeats
from model_runtime.sampler import sample, uniform


def _slow(logits: torch.Tensor, temperature: float, top_p: float, draw: float) -> int:
    """Nucleus sampling as the paper writes it, over the whole sorted vocabulary."""
    probabilities, order = (logits.double() / temperature).softmax(-1).sort(descending=True, stable=True)
    mass = 0.0
    kept: list[float] = []
    for probability in probabilities.tolist():
        kept.append(probability)
        mass += probability
        if mass >= top_p:
            break
    below = 0.0
    for index, probability in enumerate(kept):
        below += probability
        if draw * mass < below:
            return int(order[index])
    return int(order[len(kept) - 1])


@given(
    seed=st.integers(0, 2**53),
    position=st.integers(0, 2**20),
    temperature=st.floats(0.2, 3),
    top_p=st.floats(0.05, 1),
    size=st.sampled_from([3, 64, 700, 3000]),
)
def test_a_draw_is_that_of_the_whole_distribution(
    seed: int, position: int, temperature: float, top_p: float, size: int
) -> None:
    """Looking at the top alone gives the token that sorting everything gives."""
    logits = torch.randn(size, generator=torch.Generator().manual_seed(seed % 1000)) * 3
    drawn = sample(logits, temperature=temperature, top_p=top_p, seed=seed, position=position)
    assert drawn == _slow(logits, temperature, top_p, uniform(seed, position))


def test_draws_follow_the_distribution() -> None:
    """Over many positions the shares are those of the softmax, and the cut-off tail is never drawn."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    expected = logits.softmax(-1)
    drawn = [sample(logits, temperature=1, top_p=1, seed=7, position=p) for p in range(4000)]
    for token in range(4):
        assert drawn.count(token) / 4000 == pytest.approx(float(expected[token]), abs=0.03)
    nucleus = {sample(logits, temperature=1, top_p=0.8, seed=7, position=p) for p in range(500)}
    assert nucleus == {0, 1}


def test_greedy_takes_the_likeliest() -> None:
    """Temperature 0 needs no draw."""
    assert sample(torch.tensor([0.1, 5.0, 0.3]), temperature=0, top_p=0.1, seed=0, position=0) == 1


def test_the_generator_is_a_function_of_seed_and_position() -> None:
    """Equal in, equal out; neighbours in either differ."""
    assert uniform(5, 9) == uniform(5, 9)
    assert len({uniform(seed, position) for seed in range(20) for position in range(20)}) == 400


@given(st.lists(st.integers(0, 9), min_size=1, max_size=48), st.lists(st.integers(10, 19), max_size=20))
def test_a_block_said_over_and_over_is_noticed(block: list[int], before: list[int]) -> None:
    """Four times the same, 32 tokens or more."""
    times = max(4, -(-32 // len(block)))
    assert repeats([*before, *block * (times + 1)])


@given(st.lists(st.integers(0, 10**6), max_size=300, unique=True))
def test_what_never_repeats_is_left_alone(ids: list[int]) -> None:
    """No token twice is no circle."""
    assert not repeats(ids)


def test_short_rows_of_the_same_are_no_circle() -> None:
    """A table's rule or a list of short items may stand."""
    assert not repeats([5] * 31)
    assert not repeats([1, 2, 3, 4, 5, 6, 7, 8, 9] * 3)
    assert repeats([5] * 32)
