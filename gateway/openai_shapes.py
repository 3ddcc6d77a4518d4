"""What OpenAI's addresses answer, for the OpenAPI document: the same as OpenAI's own do, and ``parley`` beside it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dialogue.base import Value
from gateway.wire import FieldProblem

__all__ = ["Completion", "CompletionChunk", "CompletionError", "ModelList", "ServedModel"]


class CompletionAnswer(Value):
    """The message. ``reasoning_content`` is left out where nothing of it may be shown."""

    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: str = ""


class CompletionChoice(Value):
    """The one choice."""

    index: Literal[0]
    message: CompletionAnswer
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"]


class CompletionTokens(Value):
    """Of the completion tokens, those of the reasoning."""

    reasoning_tokens: int


class CompletionUsage(Value):
    """Token counts of all tries together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    completion_tokens_details: CompletionTokens


class Completion(Value):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: tuple[CompletionChoice]
    usage: CompletionUsage
    parley: dict[str, Any] = Field(description="conversation, turn, verdict, citations, trace_url, answer and more")


class CompletionDelta(Value):
    """What is added. The first has the role; a field that nothing is added to is left out."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    reasoning_content: str = ""


class ChunkChoice(Value):
    """The one choice; the last chunk that has it has its ``finish_reason``."""

    index: Literal[0]
    delta: CompletionDelta
    logprobs: None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class CompletionChunk(Value):
    """A part of an answer. ``choices`` is empty in the one that brings ``usage`` alone; ``parley`` comes with the
    ``finish_reason``."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str | None
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | None = None
    parley: dict[str, Any] = Field(default={}, description="as in a whole answer")


class ServedModel(Value):
    """A name or an alias."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Value):
    """All of them; the default first."""

    object: Literal["list"]
    data: tuple[ServedModel, ...]


class CompletionProblem(Value):
    """What is wrong and the way out; with ``param``, of which field."""

    message: str
    type: Literal[
        "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "server_error"
    ]
    param: str | None
    code: str | None
    errors: tuple[FieldProblem, ...] = Field(default=(), description="each bad field, where there are several")


class CompletionError(Value):
    """A problem in OpenAI's shape."""

    error: CompletionProblem
