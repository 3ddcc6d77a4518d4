"""The tiny reasoning model and its engine, as the model runtime's tests have them."""

from __future__ import annotations

from tests.model_runtime.conftest import reasoning_engine, tiny_r1

__all__ = ["reasoning_engine", "tiny_r1"]
