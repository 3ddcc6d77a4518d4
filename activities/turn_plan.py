"""Makes the plan of a turn from the settings, once, in the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from dialogue.faults import UnknownModel, UnknownTenant
from dialogue.plan import GenerationPlan, LadderPlan, ModelPlan, ReviewPlan, StepName, StepPlan, TextKind, TurnPlan
from dialogue.steps import ReceiveInput
from policy.policy import Policy
from settings.schema import SERVICES, Settings, TenantSettings

__all__ = ["TurnPlanner"]


@dataclass(slots=True)
class TurnPlanner:
    """``policies`` by name, ``models`` by alias; the alias of the model that answers is ``default``."""

    settings: Settings
    policies: Mapping[str, Policy]
    models: Mapping[str, ModelPlan]
    _steps: dict[StepName, StepPlan] = field(init=False)

    def __post_init__(self) -> None:
        self._steps = {
            step: StepPlan(
                task_queue=self.settings.queue_serving(step),
                **self.settings.steps[step].model_dump(exclude_none=True),
            )
            for step in SERVICES
            if step != "workflows"
        }

    def tenant(self, name: str) -> TenantSettings:
        """Raises UnknownTenant."""
        try:
            return self.settings.tenants[name]
        except KeyError:
            raise UnknownTenant(
                f"tenant: there is no tenant {name!r}. Name one of temporal.yaml's tenants.", field="tenant"
            ) from None

    def policy(self, tenant: str) -> Policy:
        return self.policies[self.tenant(tenant).policy]

    def model(self, alias: str | None) -> ModelPlan:
        """Raises UnknownModel."""
        for known, plan in self.models.items():
            if alias is None or alias in (known, plan.name):
                return plan
        raise UnknownModel(f"model: there is no model {alias!r}; there are {', '.join(self.models)}.", field="model")

    def plan(self, request: ReceiveInput) -> TurnPlan:
        """The plan for this message: the caller's own wishes over the settings."""
        tenant = self.tenant(request.turn.tenant)
        policy = self.policies[tenant.policy]
        generation = self.settings.generation
        longest = generation.max_new_tokens
        return TurnPlan(
            policy=tenant.policy,
            policy_digest=policy.digest,
            tenant=request.turn.tenant,
            steps=self._steps,
            model=self.model(request.model),
            other_models={alias: plan for alias, plan in self.models.items() if alias != "default"},
            generation=GenerationPlan(
                temperature=generation.temperature if request.temperature is None else request.temperature,
                top_p=generation.top_p,
                max_new_tokens=min(request.max_new_tokens or longest, longest),
                thinking_budget=generation.thinking_budget,
                seed=seed_of(request) if request.seed is None else request.seed,
                history_turns=generation.history_turns,
            ),
            ladder=LadderPlan(
                rungs=generation.ladder,
                max_tries=generation.max_tries,
                max_seconds=generation.max_seconds,
                max_turn_tokens=generation.max_turn_tokens,
            ),
            review=ReviewPlan(human_timeout=policy.rules.human_timeout, fail=policy.rules.fail),
            texts={
                kind: {language: policy.text(kind, language) for language in ("en", "zh")}
                for kind in get_args(TextKind)
            },
            template=tenant.template,
            stream=tenant.stream,
            priority=tenant.priority,
            page=self.settings.gateway.page,
        )


def seed_of(request: ReceiveInput) -> int:
    """A seed for a message that brings none: from conversation and turn, so that another attempt draws the same."""
    digest = hashlib.sha256(request.turn.stream.encode()).digest()
    return int.from_bytes(digest[:4], "big")
