"""The activities of a pool: each step's object, built with the parts it needs. A step that the pool does not serve is
not even imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from activities.heartbeats import INTERVAL
from dialogue.faults import ParleyFault
from settings.schema import ModelSettings, Service
from workers.parts import Parts
from workers.timeline import Timeline

if TYPE_CHECKING:
    from workers.engines import Engines

__all__ = ["activities_for", "warm_up"]

Activity = Callable[..., Any]


async def activities_for(
    services: Iterable[Service],
    parts: Parts,
    engines: Engines | None,
    timeline: Timeline,
    *,
    identity: str,
    heartbeat: float = INTERVAL,
) -> list[Activity]:
    """The activities that serve ``services``, ready to run. ``engines``: those of ``generate_answer``, started, which
    says that it lives every ``heartbeat`` seconds."""
    serves = set(services)
    found: list[Activity] = []
    if serves & {"receive_input", "review_answer", "return_answer"}:
        found += await _with_policies(serves, parts, timeline)
    if serves & {"recognise_intent", "retrieve_knowledge"}:
        found += await _with_embedder(serves, parts, timeline)
    if "workflows" in serves:
        from activities.deliver_webhook import DeliverWebhookStep
        from activities.keep_records import KeepRecordsStep
        from activities.recall_conversation import RecallConversationStep

        recall = RecallConversationStep(parts.audit, parts.signer)
        found += [recall.recall_conversation, recall.keep_feedback]
        found.append(DeliverWebhookStep(parts.settings).deliver_webhook)
        keeping = KeepRecordsStep(parts.archive, parts.retention)
        found += [keeping.archive_runs, keeping.apply_retention]
    if engines is not None:
        found.append(await _generate_answer(parts, engines, identity, heartbeat))
    return found


async def warm_up(services: Iterable[Service], parts: Parts) -> None:
    """What a first question would wait for and a start need not."""
    if "retrieve_knowledge" not in services:
        return
    try:
        await asyncio.to_thread(parts.knowledge.current)
    except ParleyFault:
        return  # the turn that needs it says what is wrong


async def _with_policies(serves: set[Service], parts: Parts, timeline: Timeline) -> list[Activity]:
    from activities.quote_passages import QuotePassagesStep
    from activities.receive_input import ReceiveInputStep
    from activities.return_answer import ReturnAnswerStep
    from activities.review_answer import ReviewAnswerStep
    from records.caller_tokens import CallerTokens

    with timeline.step("policies"):
        policies = await parts.policies()
        planner = parts.planner(policies)
    with timeline.step("tokenizers"):
        tokenizers = await asyncio.to_thread(parts.tokenizers)
    found: list[Activity] = []
    if "receive_input" in serves:
        callers = await asyncio.to_thread(CallerTokens.open, parts.settings)
        keys = parts.protection.keys if parts.protection else None
        found.append(ReceiveInputStep(planner, tokenizers, parts.events, callers, keys).receive_input)
    if "review_answer" in serves:
        special = sorted({token for tokenizer in tokenizers.values() for token in tokenizer.special_strings()})
        found.append(ReviewAnswerStep(policies, special, parts.events).review_answer)
        found.append(QuotePassagesStep(parts.events).quote_passages)
    if "return_answer" in serves:
        found.append(ReturnAnswerStep(planner, parts.audit, parts.events, parts.signer).return_answer)
    return found


async def _with_embedder(serves: set[Service], parts: Parts, timeline: Timeline) -> list[Activity]:
    if parts.embedder.languages:
        with timeline.step("embedding model"):
            await asyncio.to_thread(parts.embedder.load)
    found: list[Activity] = []
    if "recognise_intent" in serves:
        from activities.recognise_intent import RecogniseIntentStep

        with timeline.step("intents"):
            found.append(RecogniseIntentStep(await parts.classifier()).recognise_intent)
    if "retrieve_knowledge" in serves:
        from activities.retrieve_knowledge import RetrieveKnowledgeStep

        step = RetrieveKnowledgeStep(parts.knowledge, parts.settings.knowledge.passages)
        found.append(step.retrieve_knowledge)
    return found


async def _generate_answer(parts: Parts, engines: Engines, identity: str, heartbeat: float) -> Activity:
    """Every model whose queue is this pool's, loaded and warm before a task is taken."""
    from activities.generate_answer import GenerateAnswerStep, ServedModel
    from model_runtime.tokenizer import Tokenizer

    async def served(model: ModelSettings) -> ServedModel:
        tokenizer = await asyncio.to_thread(Tokenizer.load, parts.layout.model(model))
        keeper = await engines.ready(model.name)
        return ServedModel(model.name, parts.manifest(model).digest, tokenizer, keeper, logprobs=model.logprobs)

    models = await asyncio.gather(*map(served, engines.models.values()))
    timeout = parts.settings.steps["generate_answer"].heartbeat or 2.0
    step = GenerateAnswerStep(
        {model.name: model for model in models},
        parts.token_log,
        parts.contents,
        parts.events,
        identity=identity,
        heartbeat_seconds=min(heartbeat, timeout / 4),
    )
    return step.generate_answer
