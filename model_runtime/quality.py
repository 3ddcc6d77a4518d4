"""What a quantized model lost, held against the one it was made from: on a held-out text and in greedy answers.

The measure is that of the GPTQ and AWQ papers (Frantar et al. 2023, Lin et al. 2024): perplexity over windows of a text
that neither saw. Agreement says how long greedy answers stay the same, token by token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dialogue.faults import ModelFault

if TYPE_CHECKING:
    from model_runtime.decoder import Decoder

__all__ = ["ALLOWANCE", "PROMPTS", "Quality", "compare"]

Progress = Callable[[str, float], None]
ALLOWANCE = {"fp32": 0.005, "bf16": 0.005, "int8": 0.01, "int4": 0.10, "gptq": 0.10, "awq": 0.10}
"""By method, how much perplexity may grow: a share of what it was."""
PROMPTS = {
    "en": ("Why is the sky blue?", "Name three uses of a brick.", "What is a contract?", "How do birds fly?"),
    "zh": ("天空为什么是蓝色的？", "说出砖头的三种用途。", "什么是合同？", "鸟是怎样飞的？"),
}
"""What greedy answers are compared on, by language."""
WINDOW = 256
LEAST_TOKENS = 1024
_NEW_TOKENS = 48
_STEPS = 24
_RUNS = 5


@dataclass(frozen=True, slots=True)
class Quality:
    """``tokens`` of the held-out text were scored; ``perplexity_loss`` is the growth as a share, ``agreement`` the mean
    share of a greedy answer up to the first token that differs; speeds in tokens a second, one sequence, the best
    of a few runs.
    """

    tokens: int
    perplexity_before: float
    perplexity_after: float
    perplexity_loss: float
    agreement: float
    speed_before: float
    speed_after: float
    allowance: float
    gate: Literal["passed", "failed"]

    @property
    def passed(self) -> bool:
        return self.gate == "passed"


def compare(
    before: Path,
    after: Path,
    held_out: str,
    prompts: Sequence[str],
    *,
    allowance: float | None = None,
    progress: Progress = lambda text, share: None,
) -> Quality:
    """Both are prepared folders with one tokenizer; ``before`` in bf16. ``allowance`` replaces that of the method.

    Raises :class:`ModelFault` where the text is too short to say anything, and what loading raises.
    """
    from model_runtime.model_store import load_manifest
    from model_runtime.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(after)
    ids = tokenizer.encode(held_out)
    if len(ids) < LEAST_TOKENS:
        raise ModelFault(f"held-out text: has {len(ids)} tokens. Give at least {LEAST_TOKENS}.", field="held_out")
    asked = [tokenizer.encode(tokenizer.apply_chat_template([{"role": "user", "content": each}])) for each in prompts]
    measured: list[_Measured] = []
    for number, folder in enumerate((before, after)):
        progress(f"measuring {folder.name}", number / 2)
        measured.append(_measure(folder, ids, asked))
    old, new = measured
    method = load_manifest(after).method
    allowed = ALLOWANCE.get(method, 0.0) if allowance is None else allowance
    loss = new.perplexity / old.perplexity - 1
    return Quality(
        tokens=len(ids) // WINDOW * (WINDOW - 1),
        perplexity_before=round(old.perplexity, 4),
        perplexity_after=round(new.perplexity, 4),
        perplexity_loss=round(loss, 5),
        agreement=round(_agreement(old.answers, new.answers), 4),
        speed_before=round(old.speed, 1),
        speed_after=round(new.speed, 1),
        allowance=allowed,
        gate="passed" if loss <= allowed else "failed",
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    perplexity: float
    answers: list[list[int]]
    speed: float


def _measure(folder: Path, ids: Sequence[int], asked: Sequence[Sequence[int]]) -> _Measured:
    import torch

    from model_runtime.loading import load

    decoder = load(folder, torch.device("cpu")).decoder
    answers = [_greedy(decoder, list(prompt), _NEW_TOKENS) for prompt in asked]
    return _Measured(_perplexity(decoder, ids), answers, _speed(decoder, list(ids[:32])))


def _perplexity(decoder: Decoder, ids: Sequence[int]) -> float:
    """Over whole windows of the text, each scored by itself."""
    windows = [list(ids[start : start + WINDOW]) for start in range(0, len(ids) - WINDOW + 1, WINDOW)]
    scores = [decoder.score(window) for window in windows]
    return math.exp(-sum(float(score.double().sum()) for score in scores) / sum(len(score) for score in scores))


def _greedy(decoder: Decoder, prompt: list[int], count: int) -> list[int]:
    place = decoder.place(len(prompt) + count)
    made = [int(decoder.prefill(prompt, 0, place).argmax())]
    while len(made) < count:
        made.append(int(decoder.decode(made[-1:], [len(prompt) + len(made) - 1], [place])[0].argmax()))
    return made


def _speed(decoder: Decoder, prompt: list[int]) -> float:
    """The best of a few runs: what else the machine does slows some of them, and makes none faster."""
    _greedy(decoder, prompt, 4)
    took: list[float] = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        _greedy(decoder, prompt, _STEPS)
        took.append(time.perf_counter() - began)
    return _STEPS / min(took)


def _agreement(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> float:
    shares = [
        next((place for place, pair in enumerate(zip(a, b, strict=True)) if pair[0] != pair[1]), len(a)) / len(a)
        for a, b in zip(before, after, strict=True)
    ]
    return sum(shares) / len(shares) if shares else 1.0
