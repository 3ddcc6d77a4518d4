"""The steps of this site as a rerun needs them, each built when it is first needed: many reruns need no model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml

from dialogue.faults import InvalidRequest
from dialogue.plan import ModelPlan
from dialogue.steps import GenerateAnswer, RetrievedKnowledge
from knowledge_base.knowledge import KnowledgeBase
from replay.changes import Changes
from replay.evidence import Evidence
from replay.quiet import quiet_parts
from settings.schema import ModelSettings, Settings
from workers.engines import Engines
from workers.parts import Parts
from workers.steps import activities_for
from workers.timeline import Timeline

__all__ = ["RerunParts"]

Step = Callable[[Any], Awaitable[Any]]
OTHER_POLICY = "replay-other"
"""The name under which a policy out of a file stands beside the site's own."""


class RerunParts:
    """Whatever it opens is closed with ``stack``."""

    def __init__(self, evidence: Evidence, stack: AsyncExitStack) -> None:
        self._evidence, self._stack = evidence, stack
        self._parts: dict[tuple[Any, ...], Parts] = {}
        self._steps: dict[tuple[Any, ...], Step] = {}
        self._generating: dict[str, Step] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def settings(self) -> Settings:
        return self._evidence.settings

    def models(self) -> dict[str, ModelPlan]:
        """This site's, by alias. Raises ModelMissing."""
        return self._of(Changes(), "").model_plans()

    async def step(self, activity: str, changes: Changes, *, tenant: str, snapshot: str | None) -> Step:
        """The activity's own code, with the changes. ``snapshot``: the recorded one, unless the changes name another.

        Raises InvalidRequest, PolicyFault, and what the parts raise.
        """
        if activity == "retrieve_knowledge":
            return self._retrieving(changes, snapshot)
        key = (activity, changes.policy, tenant, changes.settings.get("intents.threshold"))
        async with self._one_at_a_time:
            if key not in self._steps:
                service = "review_answer" if activity == "quote_passages" else activity
                parts = await asyncio.to_thread(self._of, changes, tenant)
                built = await activities_for([service], parts, None, Timeline(), identity="replay")  # type: ignore[list-item]
                self._steps |= {(step.__name__, *key[1:]): step for step in built}
            return self._steps[key]

    async def generating(self, request: GenerateAnswer) -> Step:
        """``generate_answer`` on an engine with exactly the weights asked for. Raises ModelMissing."""
        async with self._one_at_a_time:
            if request.model_digest not in self._generating:
                model = self._evidence.model(request.model_digest)
                self._generating[request.model_digest] = await self._start(model)
            return self._generating[request.model_digest]

    async def _start(self, model: ModelSettings) -> Step:
        alone = model.model_copy(update={"task_queue": None})
        settings = self.settings.model_copy(update={"model": alone, "models": {}})
        engines = Engines(settings, self._stack, Timeline())
        (step,) = await activities_for(
            ["generate_answer"], quiet_parts(self._evidence, settings), engines, Timeline(), identity="replay"
        )
        return step

    def knowledge(self) -> KnowledgeBase:
        return self._of(Changes(), "").knowledge

    def _retrieving(self, changes: Changes, snapshot: str | None) -> Step:
        from activities.retrieve_knowledge import RetrieveKnowledgeStep

        passages = changes.settings.get("knowledge.passages", self.settings.knowledge.passages)
        pinned = _Pinned(self.knowledge(), changes.snapshot or snapshot, changes.settings.get("knowledge.threshold"))
        return RetrieveKnowledgeStep(pinned, passages).retrieve_knowledge  # type: ignore[arg-type]

    def _of(self, changes: Changes, tenant: str) -> Parts:
        threshold = changes.settings.get("intents.threshold")
        key = (changes.policy, tenant if changes.policy else "", threshold)
        if key not in self._parts:
            settings = self.settings
            if changes.policy is not None:
                settings = _with_policy(settings, changes.policy, tenant)
            if threshold is not None:
                intents = settings.intents.model_copy(update={"threshold": threshold})
                settings = settings.model_copy(update={"intents": intents})
            self._parts[key] = quiet_parts(self._evidence, settings)
        return self._parts[key]


class _Pinned:
    """The knowledge base at one snapshot."""

    def __init__(self, knowledge: KnowledgeBase, snapshot: str | None, threshold: float | None) -> None:
        self._knowledge, self._snapshot, self._threshold = knowledge, snapshot, threshold

    def search(self, query: str, language: str, limit: int) -> RetrievedKnowledge:
        return self._knowledge.search(query, language, limit, snapshot=self._snapshot, threshold=self._threshold)


def _with_policy(settings: Settings, policy: str, tenant: str) -> Settings:
    """The settings whose tenant has the policy: one of the site's by name, or the rules in a YAML file."""
    name, policies = policy, settings.policies
    if policy not in policies:
        path = Path(policy)
        if not path.is_file():
            raise InvalidRequest(
                f"policy: {policy} is neither a file nor one of {', '.join(policies)}.", field="policy"
            )
        try:
            rules = yaml.safe_load(path.read_text("utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"policy: {policy}: {' '.join(str(error).split())[:200]}", field="policy") from None
        name, policies = OTHER_POLICY, {**policies, OTHER_POLICY: rules}
    if tenant not in settings.tenants:
        raise InvalidRequest(f"tenant: this site has no tenant {tenant}, whose turn this is.", field="tenant")
    tenants = {**settings.tenants, tenant: settings.tenants[tenant].model_copy(update={"policy": name})}
    return settings.model_copy(update={"policies": policies, "tenants": tenants})
