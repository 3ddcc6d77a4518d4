"""The engines of a pool: each a process of its own that loads its model while the worker does the rest, or a server
that others run.

Light on purpose: a worker starts its engines first of all, and imports what else it needs while they load.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from model_runtime.engine_client import ProcessEngine
from model_runtime.keeper import EngineKeeper
from settings.layout import Layout
from settings.schema import ModelSettings, Settings
from workers.timeline import Timeline

if TYPE_CHECKING:
    from model_runtime.openai_engine import OpenAIEngine

__all__ = ["Engines"]


class Engines:
    """By the name of their model. Whatever they hold is closed with ``stack``."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, timeline: Timeline) -> None:
        """Starts those whose queue is that of ``generate_answer``; :meth:`ready` waits for one."""
        queue = settings.queue_serving("generate_answer")
        models = (settings.model, *settings.models.values())
        self.models = {model.name: model for model in models if model.task_queue in (None, queue)}
        self._layout, self._timeline = Layout.of(settings), timeline
        self._engines = {name: self._engine(model) for name, model in self.models.items()}
        self.keepers = {name: EngineKeeper(engine) for name, engine in self._engines.items()}
        self._starts = {name: asyncio.create_task(self._start(name)) for name in self.models}
        for name in self.models:
            stack.push_async_callback(self._close, name)

    def _engine(self, model: ModelSettings) -> ProcessEngine | OpenAIEngine:
        return self._remote(model, model.base_url) if model.base_url is not None else self._process(model)

    def _remote(self, model: ModelSettings, base_url: str) -> OpenAIEngine:
        from model_runtime.openai_engine import OpenAIEngine

        return OpenAIEngine(
            self._layout.model(model),
            base_url=base_url,
            served_name=model.served_name,
            rows=model.rows,
            widths=model.widths,
            api_key_env=model.api_key_env,
            api_key_file=model.api_key_file,
            connect_seconds=model.connect_seconds,
            first_token_seconds=model.first_token_seconds,
            hang_seconds=model.hang_seconds,
        )

    def _process(self, model: ModelSettings) -> ProcessEngine:
        logs = self._layout.logs
        logs.mkdir(parents=True, exist_ok=True)
        return ProcessEngine(
            self._layout.model(model),
            python=str(model.python or sys.executable),
            rows=model.rows,
            widths=model.widths,
            threads=model.threads,
            device=model.device,
            hang_seconds=model.hang_seconds,
            log_file=logs / f"engine-{model.name}.log",
            cache_folder=self._layout.cache / "engine",
            engine="vllm" if model.engine == "vllm" else "transformers",
            arguments=model.vllm,
        )

    async def _start(self, name: str) -> None:
        with self._timeline.step(f"engine {name}"):
            await self.keepers[name].start()
        self._timeline.split(f"engine {name}", self._engines[name].seconds)

    async def ready(self, name: str) -> EngineKeeper:
        """Loaded and warm. Raises what the engine's own start raises."""
        await self._starts[name]
        return self.keepers[name]

    async def _close(self, name: str) -> None:
        start = self._starts[name]
        start.cancel()
        # what it raised, someone was told, or something else went wrong before
        with suppress(asyncio.CancelledError, Exception):
            await start
        await self.keepers[name].close()
