"""An engine that tells what is asked of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from model_runtime.protocol import Engine, GenerationRequest, TokenEvent

__all__ = ["Watched"]


class Watched:
    """``asked`` is called with each request before the engine gets it."""

    def __init__(self, engine: Engine, asked: Callable[[GenerationRequest], None]) -> None:
        self._engine, self._asked = engine, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        self._asked(request)
        return self._engine.submit(request)
