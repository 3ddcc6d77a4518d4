"""An engine in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from model_runtime.protocol import Capacity, EngineDescription, GenerationRequest, TokenEvent

__all__ = ["ProcessEngine"]


class ProcessEngine:
    """An :class:`~model_runtime.protocol.Engine` that runs in a child process, over a framed pipe."""

    def __init__(
        self,
        model_folder: Path,
        *,
        python: str = sys.executable,
        rows: int = 8,
        widths: tuple[int, ...] = (256, 512, 1024),
        threads: int | None = None,
        device: str = "cpu",
        hang_seconds: float = 60.0,
        start_seconds: float = 300.0,
        cache_bytes: int | None = None,
        log_file: Path | None = None,
    ) -> None: ...

    async def start(self) -> None: ...

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        raise NotImplementedError

    async def cancel(self, request_id: str) -> None: ...

    async def capacity(self) -> Capacity:
        raise NotImplementedError

    async def describe(self) -> EngineDescription:
        raise NotImplementedError

    async def stats(self) -> dict[str, Any]:
        raise NotImplementedError

    async def close(self) -> None: ...
