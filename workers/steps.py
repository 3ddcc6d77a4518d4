"""The activities of a pool: each step's object, built with the parts it needs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

from activities.generate_answer import GenerateAnswerStep, ServedModel
from activities.policies import Policies
from activities.quote_passages import QuotePassagesStep
from activities.recall_conversation import RecallConversationStep
from activities.receive_input import ReceiveInputStep
from activities.recognise_intent import RecogniseIntentStep
from activities.retrieve_knowledge import RetrieveKnowledgeStep
from activities.return_answer import ReturnAnswerStep
from activities.review_answer import ReviewAnswerStep
from knowledge_base.embedding import Embedder
from model_runtime.engine_client import ProcessEngine
from model_runtime.keeper import EngineKeeper
from model_runtime.tokenizer import Tokenizer
from settings.schema import ModelSettings, Service
from workers.parts import Parts

__all__ = ["activities_for"]

Activity = Callable[..., Any]


async def activities_for(
    services: Iterable[Service], parts: Parts, stack: AsyncExitStack, *, identity: str
) -> list[Activity]:
    """The activities that serve ``services``, ready to run. Whatever they hold open is closed with ``stack``."""
    serves = set(services)
    found: list[Activity] = []
    if serves & {"receive_input", "review_answer", "return_answer"}:
        found += await _with_policies(serves, parts)
    if serves & {"recognise_intent", "retrieve_knowledge"}:
        found += await _with_embedder(serves, parts)
    if "generate_answer" in serves:
        found.append(await _generate_answer(parts, stack, identity))
    if "workflows" in serves:
        recall = RecallConversationStep(parts.audit)
        found += [recall.recall_conversation, recall.keep_feedback]
    return found


async def _with_policies(serves: set[Service], parts: Parts) -> list[Activity]:
    policies: Policies = await parts.policies()
    planner = parts.planner(policies)
    tokenizers = await asyncio.to_thread(parts.tokenizers)
    found: list[Activity] = []
    if "receive_input" in serves:
        found.append(ReceiveInputStep(planner, tokenizers, parts.events).receive_input)
    if "review_answer" in serves:
        special = sorted({token for tokenizer in tokenizers.values() for token in tokenizer.special_strings()})
        found.append(ReviewAnswerStep(policies, special, parts.events).review_answer)
        found.append(QuotePassagesStep(parts.events).quote_passages)
    if "return_answer" in serves:
        found.append(ReturnAnswerStep(planner, parts.audit, parts.events).return_answer)
    return found


async def _with_embedder(serves: set[Service], parts: Parts) -> list[Activity]:
    embedder: Embedder = parts.embedder()
    found: list[Activity] = []
    if "recognise_intent" in serves:
        found.append(RecogniseIntentStep(await parts.classifier(embedder)).recognise_intent)
    if "retrieve_knowledge" in serves:
        knowledge = parts.knowledge(embedder)
        step = RetrieveKnowledgeStep(knowledge, parts.settings.knowledge.passages)
        found.append(step.retrieve_knowledge)
    return found


async def _generate_answer(parts: Parts, stack: AsyncExitStack, identity: str) -> Activity:
    """Every model whose queue is this pool's, loaded and warm before a task is taken."""
    queue = parts.settings.queue_serving("generate_answer")
    models = [model for model in parts.all_models().values() if model.task_queue in (None, queue)]
    served = await asyncio.gather(*(_serve(parts, model, stack) for model in models))
    heartbeat = parts.settings.steps["generate_answer"].heartbeat or 2.0
    step = GenerateAnswerStep(
        {model.name: model for model in served},
        parts.token_log,
        parts.contents,
        parts.events,
        identity=identity,
        heartbeat_seconds=min(0.2, heartbeat / 4),
    )
    return step.generate_answer


async def _serve(parts: Parts, model: ModelSettings, stack: AsyncExitStack) -> ServedModel:
    manifest = parts.manifest(model)
    folder = parts.layout.model(model)
    parts.layout.logs.mkdir(parents=True, exist_ok=True)
    engine = ProcessEngine(
        folder,
        python=str(model.python or sys.executable),
        rows=model.rows,
        widths=model.widths,
        threads=model.threads,
        device=model.device,
        hang_seconds=model.hang_seconds,
        log_file=parts.layout.logs / f"engine-{model.name}.log",
    )
    keeper = EngineKeeper(engine)
    stack.push_async_callback(keeper.close)
    await keeper.start()
    return ServedModel(model.name, manifest.digest, await asyncio.to_thread(Tokenizer.load, folder), keeper)
