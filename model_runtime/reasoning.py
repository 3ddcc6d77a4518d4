"""Splits what a model writes into reasoning and answer, as it flows.

DeepSeek-R1 is prompted with ``<think>\\n`` already written, so its output holds only the closing tag: the parser
starts in reasoning and splits at the first ``</think>``, wherever token borders fall.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["Channel", "ReasoningParser", "split_reasoning"]

Channel = Literal["reasoning", "answer"]

_OPEN = "<think>"
_CLOSE = "</think>"


class ReasoningParser:
    """Feed it text in pieces of any size; what it gives back, joined by channel, never depends on the pieces.

    A model of the kind ``none`` writes only an answer. A repeated opening tag at the very start is dropped, and so
    is the white space around the tags.
    """

    def __init__(self, kind: Literal["none", "r1"]) -> None:
        self._channel: Channel = "answer" if kind == "none" else "reasoning"
        self._plain = kind == "none"
        self._held = ""
        self._at_start = True
        self._opened = False

    @property
    def closed(self) -> bool:
        """Whether reasoning has ended (always true for a model that does none)."""
        return self._channel == "answer"

    def feed(self, text: str) -> list[tuple[Channel, str]]:
        """What became certain with ``text``, in order; never an empty piece."""
        if self._plain:
            return [("answer", text)] if text else []
        self._held += text
        out: list[tuple[Channel, str]] = []
        if self._channel == "reasoning":
            self._reason(out)
        if self._channel == "answer":
            self._answer(out)
        return out

    def close(self) -> list[tuple[Channel, str]]:
        """What was held back until the end, such as half a tag that never became one."""
        held, self._held = self._held, ""
        if self._channel == "reasoning" and not self._at_start:
            held = held.rstrip()
        elif self._at_start:
            held = held.strip()
        return [(self._channel, held)] if held else []

    def _reason(self, out: list[tuple[Channel, str]]) -> None:
        if self._at_start and not self._past_opening():
            return
        before, tag, after = self._held.partition(_CLOSE)
        keep = len(before.rstrip()) if tag else _certain(before)
        if keep:
            out.append(("reasoning", before[:keep]))
        if tag:
            self._channel, self._held, self._at_start = "answer", after, True
        else:
            self._held = before[keep:]

    def _past_opening(self) -> bool:
        """Drops white space and one opening tag; false while more text is needed to know."""
        self._held = self._held.lstrip()
        if not self._opened:
            if _OPEN.startswith(self._held) and self._held != _OPEN:
                return False
            self._opened = True
            self._held = self._held.removeprefix(_OPEN).lstrip()
        self._at_start = not self._held
        return True

    def _answer(self, out: list[tuple[Channel, str]]) -> None:
        if self._at_start:
            self._held = self._held.lstrip()
            self._at_start = not self._held
        if self._held:
            out.append(("answer", self._held))
            self._held = ""


def _certain(text: str) -> int:
    """How much of ``text`` can neither be the start of the closing tag nor white space before it."""
    end = len(text)
    for size in range(min(len(_CLOSE) - 1, end), 0, -1):
        if _CLOSE.startswith(text[end - size :]):
            end -= size
            break
    return len(text[:end].rstrip())


def split_reasoning(text: str, kind: Literal["none", "r1"]) -> tuple[str, str]:
    """Reasoning and answer of a whole text."""
    parser = ReasoningParser(kind)
    pieces = parser.feed(text) + parser.close()
    return (
        "".join(piece for channel, piece in pieces if channel == "reasoning"),
        "".join(piece for channel, piece in pieces if channel == "answer"),
    )
