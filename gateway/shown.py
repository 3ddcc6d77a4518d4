"""What of a turn's log a reader may see: the tenant's ``stream`` policy.

The same events of the log always give the same events here, so a reader who comes back to another gateway gets the
same bytes: the log is read from its beginning, and what the reader has is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

from gateway.events import IDS_PER_LOGGED, TurnEvent
from records.token_log import StreamEvent

__all__ = ["Gate", "Shown", "StreamMode"]

StreamMode = Literal["gated", "after-review", "open"]
_STANDS: Mapping[StreamMode, tuple[str, ...]] = {"gated": ("pass", "mask"), "after-review": (), "open": ("pass",)}
"""Verdicts under which what was shown of the draft may stay; the final text replaces it all the same. What the review
masks was never shown by a gate, and was where there is none."""


class Gate(Protocol):
    """Holds back what may be forbidden: :class:`policy.stream_gate.StreamGate`."""

    def feed(self, text: str) -> str: ...
    def close(self) -> str: ...


class _Open:
    """Holds nothing back."""

    def feed(self, text: str) -> str:
        return text

    def close(self) -> str:
        return ""


class _Shut:
    """Shows nothing: the reviewed answer comes with the final event."""

    def feed(self, text: str) -> str:
        del text
        return ""

    def close(self) -> str:
        return ""


class Shown:
    """The events of one turn, in order. ``new_gate`` makes a gate for one text; it is asked in the mode ``gated``
    alone. ``trace_url``: of the turn's run."""

    def __init__(
        self, mode: StreamMode, new_gate: Callable[[], Gate], trace_url: Callable[[str, str | None], str]
    ) -> None:
        self._mode: StreamMode = mode
        self._new: Callable[[], Gate] = {"gated": new_gate, "after-review": _Shut, "open": _Open}[mode]
        self._trace_url = trace_url
        self._gates: dict[str, Gate] = {}
        self.on_screen = False
        """Whether a reader has some of the draft before their eyes."""

    def take(self, event: StreamEvent) -> list[TurnEvent]:
        """What a reader is told of one more event of the log."""
        told = [(kind, data) for kind, data in self._told(event) if data.get("text") != ""]
        first = event.id * IDS_PER_LOGGED
        return [TurnEvent(first + number, kind, data, event.at) for number, (kind, data) in enumerate(told)]

    def stands(self, verdict: str) -> bool:
        """Whether what a reader has before their eyes may stay there under the review's ``verdict``."""
        return not self.on_screen or verdict in _STANDS[self._mode]

    def _told(self, event: StreamEvent) -> Iterator[tuple[str, dict[str, Any]]]:
        if event.kind in ("reasoning", "token"):
            yield from self._text(event.kind, event.data["text"])
        elif event.kind == "retry":
            self._gates.clear()
            yield from self._retract(event.data.get("why", ""))
            yield event.kind, event.data
        elif event.kind == "final":
            yield from self._final(event.data)
        else:
            yield from self._ended_texts(event)
            yield event.kind, event.data

    def _text(self, kind: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if kind == "token":  # the thinking is over
            yield from self._close("reasoning")
        gate = self._gates.setdefault(kind, self._new())
        yield self._showing(kind, gate.feed(text))

    def _ended_texts(self, event: StreamEvent) -> Iterator[tuple[str, dict[str, Any]]]:
        """The review begins when the draft has its last token; a step before it says nothing of the draft."""
        if event.kind == "step" and event.data.get("step") == "review_answer":
            for kind in list(self._gates):
                yield from self._close(kind)

    def _close(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        gate = self._gates.pop(kind, None)
        if gate is not None:
            yield self._showing(kind, gate.close())

    def _showing(self, kind: str, text: str) -> tuple[str, dict[str, Any]]:
        self.on_screen = self.on_screen or text != ""
        return kind, {"text": text}

    def _retract(self, why: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.on_screen:
            self.on_screen = False
            yield "retract", {"why": why}

    def _final(self, data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        self._gates.clear()
        if not self.stands(data["verdict"]):
            yield from self._retract(data["verdict"])
        if self._mode == "after-review":
            yield "reasoning", {"text": data.get("reasoning", "")}
            yield "token", {"text": data["answer"]}
        url = self._trace_url(data.get("workflow_id") or data.get("conversation", ""), data.get("run_id"))
        yield "final", {**data, "trace_url": url}
