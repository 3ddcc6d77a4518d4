"""What a rerun changes: model, snapshot, policy, settings, or what is left out; and how a plan looks then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import Field, ValidationError

from dialogue.base import Value
from dialogue.faults import InvalidRequest
from dialogue.plan import GenerationPlan, LadderPlan, ModelPlan, RetryPlan, TurnPlan
from settings.answering import IntentSettings, KnowledgeSettings
from settings.messages import problems_of

__all__ = ["Changes", "given_settings", "rerun_plan"]

_GENERATION = ("temperature", "top_p", "max_new_tokens", "thinking_budget", "seed", "history_turns")
_LADDER = {
    "max_tries": "max_tries",
    "max_seconds": "max_seconds",
    "max_turn_tokens": "max_turn_tokens",
    "ladder": "rungs",
}
_STEPS = {
    "knowledge.passages": KnowledgeSettings,
    "knowledge.threshold": KnowledgeSettings,
    "intents.threshold": IntentSettings,
}
ALL_STEPS = frozenset(
    {
        "receive_input",
        "recognise_intent",
        "retrieve_knowledge",
        "generate_answer",
        "quote_passages",
        "review_answer",
        "return_answer",
    }
)
SETTINGS = (*(f"generation.{name}" for name in (*_GENERATION, *_LADDER)), *_STEPS)
_MOST_ATTEMPTS = 3
"""Of a step that is run again: a rerun waits for nothing that is away."""
_HEARTBEAT = 300.0
"""Seconds. A rerun's steps run in the process that waits for them, which may load a model meanwhile and then beats
late: that is no worker that died."""


class Changes(Value):
    """``settings`` by their dotted names. ``without_passages`` are ids, ``without_history`` places of messages, from
    0, that the model is not shown. ``all_steps``: each runs again, whatever changes."""

    model: str | None = None
    snapshot: str | None = None
    policy: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    without_passages: tuple[str, ...] = ()
    without_history: tuple[int, ...] = ()
    all_steps: bool = False

    @property
    def steps(self) -> frozenset[str]:
        """The steps whose own work changes, whatever comes in."""
        if self.all_steps:
            return ALL_STEPS
        found: set[str] = set()
        if self.policy is not None:
            found |= {"receive_input", "review_answer", "return_answer"}
        if "intents.threshold" in self.settings:
            found.add("recognise_intent")
        if self.snapshot is not None or self.settings.keys() & {"knowledge.passages", "knowledge.threshold"}:
            found.add("retrieve_knowledge")
        return frozenset(found)

    def with_seed(self, seed: int) -> Changes:
        return self.model_copy(update={"settings": {**self.settings, "generation.seed": seed}})

    def line(self) -> str:
        """``model fallback · generation.temperature 0.9``."""
        named = {"model": self.model, "snapshot": self.snapshot and f"{self.snapshot[:12]}…", "policy": self.policy}
        said = [f"{name} {value}" for name, value in named.items() if value]
        said += [f"{name} {value}" for name, value in self.settings.items()]
        said += [f"without passage {each}" for each in self.without_passages]
        said += [f"without message {each + 1} of the history" for each in self.without_history]
        return " · ".join(said) or "nothing"


def given_settings(given: Iterable[str]) -> dict[str, Any]:
    """``generation.temperature=0.9`` and its like. Raises InvalidRequest for what a rerun cannot change."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name not in SETTINGS:
            raise InvalidRequest(f"set: {each}: give NAME=VALUE, with one of {', '.join(SETTINGS)}.", field="set")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):  # ValueError: a date of no calendar
            raise InvalidRequest(f"set: {each}: the value cannot be read.", field="set") from None
        if (section := _STEPS.get(name)) is not None:
            found[name] = _as_setting(section, name, found[name])
    return found


def _as_setting(section: type[KnowledgeSettings | IntentSettings], name: str, value: Any) -> Any:
    """As ``temporal.yaml`` would have it. Null is refused: the site's own value is what holds without ``--set``."""
    field = name.rpartition(".")[2]
    try:
        if value is not None:
            return getattr(section.model_validate({field: value}), field)
        why = "must be a number, but is empty"
    except ValidationError as error:
        why = next(problems_of(error)).message
    raise InvalidRequest(f"set: {name}: {why}.", field="set")


def rerun_plan(plan: TurnPlan, changes: Changes, models: Mapping[str, ModelPlan], queue: str) -> TurnPlan:
    """The recorded plan with the changes, and on the one queue of the rerun. ``models`` are this site's, by alias.

    Raises InvalidRequest for a value that no plan takes and for a model that the site does not have.
    """
    model = plan.model if changes.model is None else _model(changes.model, models)
    retry = {"maximum_attempts": _MOST_ATTEMPTS}
    steps = {
        name: step.model_copy(
            update={
                "task_queue": queue,
                "heartbeat": step.heartbeat and _HEARTBEAT,
                "retry": RetryPlan.model_validate(step.retry.model_dump() | retry),
            }
        )
        for name, step in plan.steps.items()
    }
    others = {name: each.model_copy(update={"task_queue": queue}) for name, each in plan.other_models.items()}
    named = {name.removeprefix("generation."): value for name, value in changes.settings.items() if name in SETTINGS}
    try:
        generation = GenerationPlan.model_validate(
            plan.generation.model_dump() | {name: named[name] for name in _GENERATION if name in named}
        )
        ladder = LadderPlan.model_validate(
            plan.ladder.model_dump() | {field: named[name] for name, field in _LADDER.items() if name in named}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"set: generation.{where}: {first['msg']}.", field="set") from None
    return plan.model_copy(
        update={
            "steps": steps,
            "model": model.model_copy(update={"task_queue": queue}),
            "other_models": others,
            "generation": generation,
            "ladder": ladder,
            "priority": None,
        }
    )


def _model(named: str, models: Mapping[str, ModelPlan]) -> ModelPlan:
    for alias, plan in models.items():
        if named in (alias, plan.name, f"{plan.name}@{plan.digest[:12]}"):
            return plan
    raise InvalidRequest(f"model: this site has no {named}; it has {', '.join(models)}.", field="model")
