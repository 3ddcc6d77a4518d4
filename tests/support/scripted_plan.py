"""What scripted turns are planned with: the ladder, the passage, and which word makes which fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from dialogue.plan import (
    GenerationPlan,
    LadderPlan,
    ModelPlan,
    Poor,
    RetryPlan,
    ReviewPlan,
    Rung,
    StepName,
    StepPlan,
    TurnPlan,
)
from dialogue.steps import Passage, ReceiveInput

__all__ = ["FAULTS", "PASSAGE", "scripted_plan"]

STEPS: tuple[StepName, ...] = get_args(StepName)
TEXTS = ("refusal", "fallback", "blocked", "failed", "cancelled", "waiting")
PASSAGE = Passage(
    id="p1",
    document="en/returns.md",
    title="Returns",
    section="Online orders",
    language="en",
    text="You have 30 days.",
    start=0,
    end=17,
    score=0.8,
)
LADDER: dict[Poor, tuple[Rung, ...]] = {
    "out_of_memory": (Rung(passages=1),),
    "timed_out": (Rung(max_new_tokens=20), Rung(quote=True)),
    "too_long": (Rung(history=0), Rung(human=True)),
    "repetition": (Rung(temperature=0.7), Rung(quote=True)),
    "empty": (Rung(temperature=0.8),),
    "unclosed_reasoning": (Rung(thinking_budget=16),),
    "wrong_language": (Rung(model="fallback"), Rung(quote=True)),
    "language_unknown": (Rung(quote=True),),
    "engine_lost": (Rung(model="fallback"), Rung(template=True)),
    "failed_review": (Rung(candidates=3), Rung(quote=True)),
}
FAULTS = {
    "memory": "out-of-memory",
    "tires": "generation-timed-out",
    "exceeds": "prompt-too-long",
    "outage": "engine-lost",
    "corrupt": "model-corrupt",
}
"""A word of the question -> the fault with which its generation ends."""


def scripted_plan(
    request: ReceiveInput,
    queue: str,
    *,
    human_timeout: float,
    max_seconds: float,
    steps: Mapping[StepName, StepPlan],
    max_turn_tokens: int | None = None,
) -> TurnPlan:
    """Everything on ``queue``, three quick attempts a step unless ``steps`` says otherwise."""
    quick = RetryPlan(initial_interval=0.01, maximum_interval=0.05, maximum_attempts=3)
    step = StepPlan(task_queue=queue, start_to_close=20, heartbeat=2, retry=quick)
    return TurnPlan(
        policy="default",
        policy_digest="0" * 64,
        tenant=request.turn.tenant,
        steps={**dict.fromkeys(STEPS, step), **steps},  # type: ignore[arg-type]
        model=_model(queue, "default", "scripted", "d"),
        other_models={"fallback": _model(queue, "fallback", "scripted-fallback", "f")},
        generation=GenerationPlan(temperature=0.6, top_p=0.95, max_new_tokens=64, seed=request.seed or 7),
        ladder=LadderPlan(rungs=LADDER, max_tries=4, max_seconds=max_seconds, max_turn_tokens=max_turn_tokens),
        review=ReviewPlan(human_timeout=human_timeout, fail="open" if "open" in request.text else "closed"),
        texts={kind: {"en": f"({kind})", "zh": f"（{kind}）"} for kind in TEXTS},  # type: ignore[arg-type]
    )


def _model(queue: str, alias: str, name: str, digest: str) -> ModelPlan:
    return ModelPlan(alias=alias, name=name, digest=digest * 64, task_queue=queue, languages=("en",), context=1024)
