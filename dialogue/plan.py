"""The plan of a turn: what the settings decide, recorded in history so that a replay needs no settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dialogue.base import Value

__all__ = [
    "WHOLE_ANSWER",
    "GenerationPlan",
    "LadderPlan",
    "ModelPlan",
    "Poor",
    "RetryPlan",
    "ReviewPlan",
    "Rung",
    "StepName",
    "StepPlan",
    "TextKind",
    "TurnPlan",
]

StepName = Literal[
    "receive_input",
    "recognise_intent",
    "retrieve_knowledge",
    "generate_answer",
    "review_answer",
    "return_answer",
]

Poor = Literal[
    "out_of_memory",
    "timed_out",
    "too_long",
    "repetition",
    "empty",
    "unclosed_reasoning",
    "wrong_language",
    "language_unknown",
    "engine_lost",
    "failed_review",
]
"""Why a try is not good enough. Each is a key of the ladder."""


TextKind = Literal["refusal", "fallback", "blocked", "failed", "cancelled", "waiting"]
"""The fixed texts a policy holds in each language."""


WHOLE_ANSWER = "{answer}"
"""What stands for the answer in an output template."""


class RetryPlan(Value):
    """Temporal's retry policy of one step; intervals in seconds, ``maximum_attempts`` 0 = unlimited."""

    initial_interval: float = Field(default=0.2, gt=0)
    backoff_coefficient: float = Field(default=2.0, ge=1)
    maximum_interval: float = Field(default=10.0, gt=0)
    maximum_attempts: int = Field(default=0, ge=0)


class StepPlan(Value):
    """Where a step runs and how long it may take; times in seconds.

    ``start_to_close`` bounds one attempt, ``schedule_to_close`` all of them with the waiting between.
    """

    task_queue: str | None = None
    start_to_close: float = Field(default=10.0, gt=0)
    schedule_to_close: float | None = Field(default=None, gt=0)
    heartbeat: float | None = Field(default=None, gt=0)
    retry: RetryPlan = RetryPlan()


class Rung(Value):
    """What changes in the next try. A field left ``None`` stays as it was in the try before."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    passages: int | None = Field(default=None, ge=0, description="at most so many passages")
    history: int | None = Field(default=None, ge=0, description="at most so many earlier turns")
    max_new_tokens: int | None = Field(default=None, ge=1)
    thinking_budget: int | None = Field(default=None, ge=0)
    candidates: int | None = Field(
        default=None, ge=1, le=16, description="so many samples in one batch; the best supported is kept"
    )
    model: str | None = Field(default=None, description="the alias of another model")
    quote: bool = Field(default=False, description="quote the best passages, with their citations")
    template: bool = Field(default=False, description="the tenant's fallback text")
    human: bool = Field(default=False, description="park the turn until a person resolves it")

    @property
    def ends(self) -> bool:
        """Whether no model is asked any more."""
        return self.quote or self.template or self.human

    def describe(self) -> str:
        """One short phrase for summaries: ``temperature 0.7, passages 2`` or ``quote the passages``."""
        if self.quote:
            return "quote the passages"
        if self.template:
            return "fallback template"
        if self.human:
            return "hand to a person"
        given = self.model_dump(exclude_none=True, exclude={"quote", "template", "human"})
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in given.items()) or "again"


class LadderPlan(Value):
    """For each way of being poor, the rungs in order; a poor result takes the next unused one of its own."""

    rungs: dict[Poor, tuple[Rung, ...]] = Field(default_factory=dict[Poor, tuple[Rung, ...]])
    max_tries: int = Field(default=5, ge=1)
    max_seconds: float = Field(default=600, gt=0, description="for all tries of a turn together")
    max_turn_tokens: int | None = Field(
        default=None, ge=1, description="made by all tries of a turn together, every candidate counted; None: no bound"
    )


class ModelPlan(Value):
    """The model a turn generates with. ``digest`` names its exact weights, ``languages`` what it can speak."""

    alias: str
    name: str
    digest: str
    task_queue: str
    languages: tuple[str, ...]
    reasoning: Literal["none", "r1"] = "none"
    context: int = Field(gt=0, description="tokens of prompt and answer together")


class GenerationPlan(Value):
    """How the first try samples. ``temperature`` is already the caller's or the model's own advice."""

    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_new_tokens: int = Field(ge=1)
    thinking_budget: int | None = Field(default=None, ge=0)
    seed: int = Field(ge=0)
    history_turns: int = Field(default=6, ge=0)


class ReviewPlan(Value):
    """``human_timeout``: seconds that a turn waits for a person. ``fail``: what becomes of an answer when the review
    itself fails; ``closed`` withholds it."""

    human_timeout: float = Field(default=86_400, gt=0)
    fail: Literal["closed", "open"] = "closed"


class TurnPlan(Value):
    """Everything the rest of a turn needs to know, decided once by ``receive_input``."""

    policy: str
    policy_digest: str
    tenant: str
    steps: dict[StepName, StepPlan]
    model: ModelPlan
    other_models: dict[str, ModelPlan] = Field(default_factory=dict)
    generation: GenerationPlan
    ladder: LadderPlan
    review: ReviewPlan
    texts: dict[TextKind, dict[str, str]] = Field(description="the tenant's fixed texts by kind and language")
    template: dict[str, str] | None = Field(
        default=None, description="the tenant's output templates by language; None, as in older histories: unknown"
    )
    stream: Literal["gated", "after-review", "open"] = "after-review"
    priority: int | None = Field(
        default=None, ge=1, le=5, description="1 comes first; None, as in older histories: the server's middle"
    )
    page: str = Field(default="", description="the chat page's address, for the texts of the Web UI")
