"""Token counts in OpenAI's words."""

from __future__ import annotations

from dialogue.steps import Usage
from gateway.wire import ChatUsage

__all__ = ["usage_of"]


def usage_of(usage: Usage) -> ChatUsage:
    return ChatUsage(**usage.model_dump(), total_tokens=usage.total_tokens)
