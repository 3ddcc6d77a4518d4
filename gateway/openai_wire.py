"""OpenAI's chat completions as they go over the wire: what is asked, and what is answered.

Every field that a client of OpenAI can send stands in :class:`CompletionRequest`: it is honoured, or refused with the
reason and the way out. A refused one may still be sent with the values that ask for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from dialogue.base import CallerInput
from dialogue.faults import InvalidRequest
from dialogue.messages import Identifier, OnBusy
from gateway.message_content import MessageContent
from gateway.wire import MOST_MESSAGES, ChatRequest, SaidMessage

__all__ = ["CompletionMessage", "CompletionMetadata", "CompletionRequest", "Only", "StreamOptions"]


@dataclass(frozen=True, slots=True)
class Only:
    """A field that is refused, but for null and what else is ``accepted`` because it asks for nothing. ``why`` is the
    rest of the sentence that begins with the field's name."""

    why: str
    accepted: tuple[Any, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": [*self.accepted, None], "description": self.why}

    def _check(self, value: Any) -> None:
        if value is None or any(_same(value, one) for one in self.accepted):
            return
        raise ValueError(self.why)


def _same(value: Any, accepted: Any) -> bool:
    """As JSON tells them apart: 1 and 1.0 are one number, true is none."""
    return value == accepted and isinstance(value, bool) is isinstance(accepted, bool)


_NO_TOOLS = "tools are not called here. Leave it out, and answer from the knowledge base's passages instead"
_NO_SAMPLING = "the site's own advice for its model decides this (temporal.yaml). Leave it out"
_NO_LOGPROBS = "how likely tokens were is kept with the record of a turn and not told here. Leave it out"
_NO_CACHE = "prompts that begin alike are shared by the engine itself. Leave it out"


class CompletionMessage(CallerInput):
    """One message. ``developer`` is another word for ``system``. An earlier answer may come back as it was given:
    of its ``reasoning_content`` nothing is shown to the model again, as R1's authors advise."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: MessageContent
    reasoning_content: str | None = None
    name: Annotated[Any, Only("speakers are told apart by role alone. Leave it out, and name who asks in user")] = None
    refusal: Annotated[Any, Only("send the text of a refusal as content")] = None
    audio: Annotated[Any, Only("only text is taken. Leave it out")] = None
    annotations: Annotated[Any, Only("citations are not read back. Leave it out", ([],))] = None
    tool_calls: Annotated[Any, Only(_NO_TOOLS, ([],))] = None
    function_call: Annotated[Any, Only(_NO_TOOLS)] = None

    def plain(self) -> SaidMessage:
        return SaidMessage(role="system" if self.role == "developer" else self.role, content=self.content)


class CompletionMetadata(CallerInput):
    """What OpenAI's fields have no word for, as text."""

    model_config = ConfigDict(strict=True)

    conversation: Identifier | None = Field(default=None, description="as in POST /v1/chat")
    message_id: Identifier | None = Field(default=None, description="else the Idempotency-Key header, else made here")
    tenant: Identifier | None = None
    user: Identifier | None = Field(default=None, description="where `user` is not given")
    on_busy: OnBusy | None = None
    on_disconnect: Literal["continue", "cancel"] | None = None


class StreamOptions(CallerInput):
    """Of a stream."""

    model_config = ConfigDict(strict=True)

    include_usage: bool | None = Field(default=None, description="true: one more chunk, with usage alone")
    include_obfuscation: Annotated[Any, Only("chunks are not padded. Leave it out, or send false", (False,))] = None


class CompletionRequest(CallerInput):
    """What ``POST /v1/chat/completions`` takes."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "default",
                    "messages": [{"role": "user", "content": "How long do I have to send back shoes?"}],
                }
            ]
        },
    )

    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    model: Identifier
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=32_768)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=32_768)
    seed: int | None = Field(default=None, ge=0, le=2**53)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Identifier | None = None
    metadata: CompletionMetadata | None = None

    n: Annotated[Any, Only("one answer is made. Send 1, or leave it out", (1,))] = None
    stop: Annotated[
        Any, Only("an answer is reviewed whole and ends by itself. Leave it out, or bound it by max_tokens", ([],))
    ] = None
    top_p: Annotated[Any, Only(_NO_SAMPLING)] = None
    presence_penalty: Annotated[Any, Only(f"must be 0: {_NO_SAMPLING}", (0,))] = None
    frequency_penalty: Annotated[Any, Only(f"must be 0: {_NO_SAMPLING}", (0,))] = None
    logit_bias: Annotated[Any, Only(_NO_SAMPLING, ({},))] = None
    logprobs: Annotated[Any, Only(_NO_LOGPROBS, (False,))] = None
    top_logprobs: Annotated[Any, Only(_NO_LOGPROBS, (0,))] = None
    tools: Annotated[Any, Only(_NO_TOOLS, ([],))] = None
    tool_choice: Annotated[Any, Only(_NO_TOOLS, ("none", "auto"))] = None
    parallel_tool_calls: Annotated[Any, Only(_NO_TOOLS)] = None
    functions: Annotated[Any, Only(_NO_TOOLS, ([],))] = None
    function_call: Annotated[Any, Only(_NO_TOOLS, ("none", "auto"))] = None
    response_format: Annotated[
        Any, Only("the answer is text. Leave it out, and say in the message what form you want", ({"type": "text"},))
    ] = None
    reasoning_effort: Annotated[
        Any, Only("the site's budget for thinking holds (generation.thinking_budget). Leave it out")
    ] = None
    verbosity: Annotated[Any, Only("say in the message how long the answer shall be, or bound it by max_tokens")] = None
    modalities: Annotated[Any, Only("the answer is text. Leave it out", (["text"],))] = None
    audio: Annotated[Any, Only("the answer is text. Leave it out")] = None
    prediction: Annotated[Any, Only("nothing is predicted here. Leave it out")] = None
    moderation: Annotated[Any, Only("the tenant's policy reviews each answer, and cannot be chosen. Leave it out")] = (
        None
    )
    web_search_options: Annotated[Any, Only("the knowledge base is searched, and nothing else. Leave it out")] = None
    service_tier: Annotated[
        Any, Only("there is one tier. Leave it out, or send auto or default", ("auto", "default"))
    ] = None
    store: Annotated[Any, Only("each turn is kept as the site's audit says. Leave it out, or send false", (False,))] = (
        None
    )
    safety_identifier: Annotated[Any, Only("say who asks in user")] = None
    prompt_cache_key: Annotated[Any, Only(_NO_CACHE)] = None
    prompt_cache_options: Annotated[Any, Only(_NO_CACHE)] = None
    prompt_cache_retention: Annotated[Any, Only(_NO_CACHE)] = None

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def chat(self) -> ChatRequest:
        """The same in the words of ``POST /v1/chat``. Raises InvalidRequest for fields that contradict each other."""
        more = self.metadata or CompletionMetadata()
        self._refuse_contradictions(more)
        return ChatRequest(
            messages=[message.plain() for message in self.messages],
            user=self.user or more.user,
            temperature=self.temperature,
            seed=self.seed,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            model=self.model,
            stream=bool(self.stream),
            **more.model_dump(exclude={"user"}),
        )

    def _refuse_contradictions(self, more: CompletionMetadata) -> None:
        if _differ(self.max_tokens, self.max_completion_tokens):
            raise InvalidRequest(
                "max_tokens: is another word for max_completion_tokens, and they differ. Send one of them.",
                field="max_tokens",
            )
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest(
                "stream_options: is for streams. Leave it out, or send stream: true.", field="stream_options"
            )
        if _differ(self.user, more.user):
            raise InvalidRequest("user: differs from metadata.user. Send one of them.", field="user")


def _differ(one: Any, other: Any) -> bool:
    return None not in (one, other) and one != other
