"""The parts that steps need, each built once from the settings and only where a pool needs it; what is slow to import
is imported there too.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncEngine

from activities.stream_events import StreamEvents
from dialogue.plan import ModelPlan
from model_runtime.model_store import ModelManifest, load_manifest
from records.archive import RunArchive
from records.audit import AuditLog
from records.audit_words import AuditWords
from records.content import ContentStore
from records.database import connect_database, migrate
from records.open_token_log import open_token_log
from records.payload_store import OutsidePayloads
from records.protection import Protection, open_protection
from records.retention import Retention
from records.signing import Signer
from records.token_log import TokenLog
from settings.layout import Layout
from settings.schema import ModelSettings, Settings

if TYPE_CHECKING:
    from activities.policies import Policies
    from activities.turn_plan import TurnPlanner
    from intents.classifier import IntentClassifier
    from knowledge_base.embedding import Embedder
    from knowledge_base.knowledge import KnowledgeBase
    from model_runtime.tokenizer import Tokenizer

__all__ = ["Parts"]

EMBEDDING_THREADS = 1
"""Questions are short; more threads would only take the model's cores."""


def _terms(text: str) -> list[str]:
    """A worker that writes no audit row needs no words."""
    from knowledge_base.terms import terms

    return terms(text)


@dataclass
class Parts:
    """What every pool has. Close it by leaving the stack it was opened on."""

    settings: Settings
    layout: Layout
    database: AsyncEngine
    token_log: TokenLog
    events: StreamEvents
    contents: ContentStore
    audit: AuditLog
    protection: Protection | None = None
    signer: Signer | None = None

    @classmethod
    async def open(cls, settings: Settings, stack: AsyncExitStack) -> Parts:
        layout = Layout.of(settings)
        layout.data.mkdir(parents=True, exist_ok=True)
        url = layout.database_url(settings.records.database)
        await migrate(url)
        database = connect_database(url)
        stack.push_async_callback(database.dispose)
        protection = await asyncio.to_thread(open_protection, settings, database)
        keys = protection.keys if protection else None
        signer = await asyncio.to_thread(Signer.open, settings)
        token_log = open_token_log(settings.records, layout, keys)
        stack.push_async_callback(token_log.close)
        return cls(
            settings,
            layout,
            database,
            token_log,
            StreamEvents(token_log),
            ContentStore(database, keys),
            AuditLog(database, keys, words=AuditWords(database, _terms, keys), signer=signer),
            protection,
            signer,
        )

    @cached_property
    def archive(self) -> RunArchive:
        return RunArchive(self.database, self.contents)

    @cached_property
    def retention(self) -> Retention:
        external = self.protection.external if self.protection else None
        drivers = external.drivers if external else ()
        payloads = next((driver for driver in drivers if isinstance(driver, OutsidePayloads)), None)
        days = self.settings.records.retention
        return Retention(self.database, self.archive, self.token_log, days, payloads, signer=self.signer)

    # models --------------------------------------------------------------------------------------

    def all_models(self) -> dict[str, ModelSettings]:
        """By alias; the one that answers is ``default``."""
        return {"default": self.settings.model, **self.settings.models}

    def manifest(self, model: ModelSettings) -> ModelManifest:
        """Raises ModelMissing and ModelCorrupt."""
        return load_manifest(self.layout.model(model))

    def model_plans(self) -> dict[str, ModelPlan]:
        return {alias: self._model_plan(alias, model) for alias, model in self.all_models().items()}

    def _model_plan(self, alias: str, model: ModelSettings) -> ModelPlan:
        manifest = self.manifest(model)
        return ModelPlan(
            alias=alias,
            name=model.name,
            digest=manifest.digest,
            task_queue=model.task_queue or self.settings.queue_serving("generate_answer"),
            languages=model.languages,
            reasoning=model.reasoning,
            context=model.widths[-1],
        )

    def tokenizers(self) -> dict[str, Tokenizer]:
        """By the digest of their model."""
        from model_runtime.tokenizer import Tokenizer

        folders = {self.manifest(model).digest: self.layout.model(model) for model in self.all_models().values()}
        return {digest: Tokenizer.load(folder) for digest, folder in folders.items()}

    # policies, intents, knowledge ----------------------------------------------------------------

    async def policies(self) -> Policies:
        """Raises PolicyFault."""
        from activities.policies import Policies
        from policy.policy import Policy

        root = self.settings.resolve(Path())
        built = {
            name: await asyncio.to_thread(Policy.build, rules, root) for name, rules in self.settings.policies.items()
        }
        policies = Policies(built, self.contents)
        await policies.keep()
        return policies

    def planner(self, policies: Policies) -> TurnPlanner:
        from activities.turn_plan import TurnPlanner

        return TurnPlanner(self.settings, policies.current, self.model_plans())

    @cached_property
    def embedder(self) -> Embedder:
        """Raises ModelMissing."""
        from knowledge_base.embedding import Embedder

        embedding = self.settings.knowledge.embedding
        model = embedding.model
        if not model.startswith("wheel:"):
            model = str(self.settings.resolve(model))
        return Embedder(model, embedding.languages, threads=EMBEDDING_THREADS)

    @cached_property
    def knowledge(self) -> KnowledgeBase:
        from knowledge_base.knowledge import KnowledgeBase

        return KnowledgeBase(self.layout.knowledge, self.embedder, threshold=self.settings.knowledge.threshold)

    async def classifier(self) -> IntentClassifier:
        """The one kept below the cache, else trained now, in seconds; its content is stored under its digest, which
        answers name. Raises IntentsFault."""
        from intents.intents_file import load as load_intents
        from intents.kept import kept_or_trained

        intents, embedder = self.settings.intents, self.embedder
        path = self.settings.resolve(intents.file)

        def get() -> IntentClassifier:
            return kept_or_trained(
                load_intents(path),
                self.layout.cache / "intents",
                embedder.embed,
                embedder.languages,
                embed_name=embedder.digest,
                threshold=intents.threshold,
            )

        classifier = await asyncio.to_thread(get)
        await self.contents.put("intents", classifier.content.encode())
        return classifier
