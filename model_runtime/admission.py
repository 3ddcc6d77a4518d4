"""What an engine takes in: checked before a request reaches a batch, in the same words by every engine."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from dialogue.faults import InvalidRequest, PromptTooLong
from model_runtime.protocol import GenerationRequest, Sampling

__all__ = ["admit"]

_LARGEST_SEED = 2**63 - 1


def admit(request: GenerationRequest, *, vocabulary: int, longest: int, running: Collection[str]) -> None:
    """Returns where the request can be run; one that cannot would fail in the middle of others' step.

    ``vocabulary`` is the number of token ids, ``longest`` the widest row in tokens, ``running`` the ids in use.
    Raises :class:`InvalidRequest` naming the field, or :class:`PromptTooLong` for a prompt that is empty or leaves no
    room for an answer.
    """
    if request.id in running:
        raise InvalidRequest(f"id: a request with the id {request.id!r} runs already; give each its own", field="id")
    for field, problem in _problems(request.sampling):
        raise InvalidRequest(f"sampling.{field}: {problem}", field=f"sampling.{field}")
    if not 0 < len(request.prompt_ids) < longest:
        raise PromptTooLong(
            f"the prompt has {len(request.prompt_ids)} tokens; the widest row holds {longest}, answer included, and it "
            "cannot be empty: shorten it or set wider model.widths",
            field="model.widths",
        )
    sampling = request.sampling
    for field, ids in (
        ("prompt_ids", request.prompt_ids),
        ("prefix_ids", request.prefix_ids),
        ("sampling.stop_token_ids", sampling.stop_token_ids),
        ("sampling.end_of_thinking_ids", sampling.end_of_thinking_ids),
    ):
        if ids and not (min(ids) >= 0 and max(ids) < vocabulary):
            place = next(place for place, id_ in enumerate(ids) if not 0 <= id_ < vocabulary)
            raise InvalidRequest(
                f"{field}[{place}]: {ids[place]} is no token of the model, whose ids are 0 to {vocabulary - 1}; "
                "encode with the model's own tokenizer",
                field=field,
            )


def _problems(sampling: Sampling) -> Iterator[tuple[str, str]]:
    """Fields with what is wrong with their values. Comparisons are written so that NaN fails them."""
    if not (sampling.temperature >= 0 and math.isfinite(sampling.temperature)):
        yield "temperature", f"{_shown(sampling.temperature)} is no finite number of at least 0"
    if not 0 < sampling.top_p <= 1:
        yield "top_p", f"{_shown(sampling.top_p)} is not above 0 and at most 1"
    if not 0 <= sampling.seed <= _LARGEST_SEED:
        yield "seed", f"{_shown(sampling.seed)} is not between 0 and {_LARGEST_SEED}"
    if sampling.max_new_tokens < 1:
        yield "max_new_tokens", f"{_shown(sampling.max_new_tokens)} is below 1"
    if sampling.thinking_budget is not None and sampling.thinking_budget < 0:
        yield "thinking_budget", f"{_shown(sampling.thinking_budget)} is below 0; give none for no bound"


def _shown(value: Any) -> str:
    return f"{value!r}"[:40]
