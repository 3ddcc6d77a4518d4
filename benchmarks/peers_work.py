"""What all candidates are asked: prompts and answers of unequal lengths, and when. Decided by seeds alone.

Prompts are pieces of the help centre's articles, each from another place, so that no cache of prefixes helps anyone.
They break off within a text and hold no chat: the model goes on with it, and few answers would end by themselves.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LONGEST_ANSWER", "Work", "answer_lengths", "mixed", "poisson_arrivals", "prompt_lengths", "shape"]

ARTICLES = Path(__file__).resolve().parent.parent / "examples" / "help" / "en"
LONGEST_ANSWER = 128
MEDIAN_ANSWER, SPREAD, SHORTEST_ANSWER = 80, 0.8, 8
"""Answers of ShareGPT have a long right tail: a log-normal of that median, in tokens, and that sigma."""
SHORTEST_PROMPT, LONGEST_PROMPT = 20, 300


@dataclass(frozen=True, slots=True)
class Work:
    """One request: token ids in, so many tokens out."""

    prompt: tuple[int, ...]
    tokens: int


def answer_lengths(count: int, seed: int, longest: int = LONGEST_ANSWER) -> list[int]:
    """Tokens: log-normal, between 8 and ``longest``; about a quarter of them are as long as 128 allows."""
    draw = random.Random(f"answers {seed}")
    drawn = (draw.lognormvariate(math.log(MEDIAN_ANSWER), SPREAD) for _ in range(count))
    return [min(longest, max(SHORTEST_ANSWER, round(length))) for length in drawn]


def prompt_lengths(count: int, seed: int) -> list[int]:
    """Tokens: uniform in their logarithm, 20 to 300."""
    draw = random.Random(f"prompts {seed}")
    bounds = math.log(SHORTEST_PROMPT), math.log(LONGEST_PROMPT)
    return [round(math.exp(draw.uniform(*bounds))) for _ in range(count)]


def poisson_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments between 0 and ``seconds``, of a Poisson process of ``rate`` a second."""
    draw, moments, now = random.Random(f"arrivals {seed}"), list[float](), 0.0
    while (now := now + draw.expovariate(rate)) < seconds:
        moments.append(now)
    return moments


def mixed(
    folder: Path, count: int, seed: int, *, longest: int = LONGEST_ANSWER, lengths_of: int | None = None
) -> list[Work]:
    """``folder``: of a prepared model, for its tokenizer. ``lengths_of``: lengths repeat after so many, texts do not,
    so that any such stretch of the works asks for the same number of tokens."""
    from model_runtime.tokenizer import Tokenizer

    texts = "\n\n".join(file.read_text("utf-8") for file in sorted(ARTICLES.glob("*.md")))
    ids = Tokenizer.load(folder).encode(texts)
    cycle = lengths_of or count
    prompts, answers = prompt_lengths(cycle, seed), answer_lengths(cycle, seed, longest)
    places = random.Random(f"places {seed}").sample(range(len(ids) - LONGEST_PROMPT), count)
    return [
        Work(tuple(ids[place : place + prompts[number % cycle]]), answers[number % cycle])
        for number, place in enumerate(places)
    ]


def shape(works: list[Work]) -> dict[str, Any]:
    """What was asked, for the report: tokens, least, mean and greatest."""
    asked = {"prompt_tokens": [len(work.prompt) for work in works], "answer_tokens": [work.tokens for work in works]}
    return {"requests": len(works)} | {
        name: [min(lengths), round(sum(lengths) / len(lengths), 1), max(lengths)] for name, lengths in asked.items()
    }
