"""A turn told as OpenAI tells it: one ``chat.completion``, or chunks of it.

OpenAI's clients put deltas together and can take nothing back. So once something that was sent is withdrawn, nothing
of a draft is sent any more; at the end the rest is sent where the answer that stands begins with what was sent, and
else the stream ends with ``content_filter``. The answer that stands is in ``parley.answer`` in any case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from dialogue.faults import ParleyFault
from gateway.events import TurnEvent
from gateway.openai_errors import openai_error
from gateway.problems import told

__all__ = ["CompletionChunks", "completion"]

FILTERED = "content_filter"
_FILTERED_VERDICTS = ("refused", "block")
_TEXTS = {"reasoning": "reasoning_content", "token": "content"}
_PARLEY = (
    "conversation",
    "turn",
    "message_id",
    "state",
    "verdict",
    "intent",
    "confidence",
    "language",
    "citations",
    "snapshot",
    "answer",
    "workflow_id",
    "run_id",
    "trace_url",
    "receipt",
)


def completion(final: Mapping[str, Any], asked_model: str) -> dict[str, Any]:
    """The whole answer. ``final`` is what the turn's last event holds."""
    message = {"role": "assistant", "content": final["answer"], "refusal": None}
    if final["reasoning"]:
        message["reasoning_content"] = final["reasoning"]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(final)}
    return {
        "id": _id(final["message_id"]),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": final["model"] or asked_model,
        "system_fingerprint": _fingerprint(final),
        "choices": [choice],
        "usage": _usage(final),
        "parley": _parley(final),
    }


class CompletionChunks:
    """How a turn's events are written for OpenAI's clients: a :class:`gateway.sse.Encoding`."""

    def __init__(self, message_id: str, asked_model: str, *, with_usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": _id(message_id),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": asked_model,
            "system_fingerprint": None,
        }
        self._with_usage = with_usage
        self._begun = False
        self._sent = {"reasoning": "", "token": ""}
        self._withdrawn = False

    def event(self, event: TurnEvent) -> bytes:
        if event.kind in _TEXTS:
            return b"" if self._withdrawn else self._text(event.kind, event.data["text"])
        if event.kind == "retract":
            self._withdrawn = True
        if event.kind == "final":
            return self._final(event.data)
        return b"" if self._begun else self._delta({})

    def fault(self, id_: int, fault: ParleyFault) -> bytes:
        """Clients raise it. Nothing follows it."""
        del id_
        return _data(openai_error(told(fault)))

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _text(self, kind: str, text: str) -> bytes:
        self._sent[kind] += text
        return self._delta({_TEXTS[kind]: text})

    def _final(self, final: Mapping[str, Any]) -> bytes:
        self._head |= {"model": final["model"] or self._head["model"], "system_fingerprint": _fingerprint(final)}
        chunks, reason = b"", _finish_reason(final)
        stands, sent = final["answer"], self._sent["token"]
        if stands.startswith(sent):
            if not any(self._sent.values()) and final["reasoning"]:
                chunks += self._text("reasoning", final["reasoning"])
            if len(stands) > len(sent):
                chunks += self._text("token", stands[len(sent) :])
        elif self._withdrawn:
            reason = FILTERED
        chunks += self._delta({}, reason, parley=_parley(final))
        if self._with_usage:
            chunks += _data({**self._head, "choices": [], "usage": _usage(final)})
        return chunks

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._with_usage else {}
        return _data({**self._head, "choices": [choice], **usage, **more})


def _data(value: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _id(message_id: str) -> str:
    return f"chatcmpl-{message_id}"


def _finish_reason(final: Mapping[str, Any]) -> str:
    if final["verdict"] in _FILTERED_VERDICTS:
        return FILTERED
    return "length" if final.get("finish_reason") == "length" else "stop"


def _fingerprint(final: Mapping[str, Any]) -> str | None:
    """Of the weights that were asked: the beginning of their digest."""
    digest = final.get("model_digest")
    return f"fp_{digest[:12]}" if digest else None


def _usage(final: Mapping[str, Any]) -> dict[str, Any]:
    usage = final["usage"]
    counts = {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {**counts, "completion_tokens_details": {"reasoning_tokens": usage["reasoning_tokens"]}}


def _parley(final: Mapping[str, Any]) -> dict[str, Any]:
    return {name: final.get(name) for name in _PARLEY}
