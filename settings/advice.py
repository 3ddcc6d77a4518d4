"""Settings that are allowed and not advised: what DeepSeek-R1's authors say about sampling it.

Their README (usage recommendations): temperature 0.5 to 0.7, else it repeats itself without end or loses the thread;
top_p 0.95; as many tokens as it takes to think and then to answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from settings.origins import Place, Problem

if TYPE_CHECKING:
    from settings.schema import Settings

__all__ = ["R1_SAMPLING", "advice", "with_r1_sampling"]

R1_SAMPLING = {"temperature": 0.6, "top_p": 0.95}
"""What holds for R1 where ``generation`` says nothing else."""
TEMPERATURES = (0.5, 0.7)
LEAST_TOP_P = 0.9
LEAST_TOKENS = 1024
LEAST_WIDTH = 2048
"""The official prompt alone takes some 500 tokens, and the answer's share is at most half of a row."""


def with_r1_sampling(given: Any) -> Any:
    """Settings as they were given, with R1's own sampling under them where ``model.reasoning`` is ``r1``."""
    if not isinstance(given, Mapping):
        return given
    model, generation = given.get("model"), given.get("generation") or {}
    reasons = isinstance(model, Mapping) and model.get("reasoning") == "r1"
    if not reasons or not isinstance(generation, Mapping):
        return given
    return {**given, "generation": {**R1_SAMPLING, **generation}}


def advice(settings: Settings) -> Iterator[Problem]:
    """Each setting with which a model that reasons is known to do worse; none for another model."""
    if settings.model.reasoning != "r1":
        return
    generation = settings.generation
    yield from _temperature(("generation", "temperature"), generation.temperature)
    if generation.top_p < LEAST_TOP_P:
        yield Problem(("generation", "top_p"), f"{generation.top_p:g} is far from the 0.95 that R1's authors advise")
    if settings.model.widths[-1] < LEAST_WIDTH:
        yield Problem(
            ("model", "widths"),
            f"{settings.model.widths[-1]} is little for R1's prompt with passages, its reasoning and its answer; "
            f"let the widest be {LEAST_WIDTH} or more",
        )
    if generation.max_new_tokens < LEAST_TOKENS:
        yield Problem(
            ("generation", "max_new_tokens"),
            f"{generation.max_new_tokens} is little for reasoning and answer together; set {LEAST_TOKENS} or more, "
            "and model.widths that hold them beside the prompt",
        )
    if generation.thinking_budget is not None and generation.thinking_budget >= generation.max_new_tokens:
        yield Problem(
            ("generation", "thinking_budget"),
            f"{generation.thinking_budget} leaves no room for an answer in max_new_tokens, {generation.max_new_tokens}",
        )
    for poor, rungs in generation.ladder.items():
        for index, rung in enumerate(rungs):
            if rung.temperature is not None and rung.model is None:
                yield from _temperature(("generation", "ladder", poor, index, "temperature"), rung.temperature)


def _temperature(place: Place, value: float) -> Iterator[Problem]:
    least, most = TEMPERATURES
    if not least <= value <= most:
        yield Problem(place, f"{value:g} is outside the {least:g} to {most:g} that R1's authors advise")
