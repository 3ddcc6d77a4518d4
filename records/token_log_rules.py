"""What the back ends of the token log have in common: kinds, how pieces become events, and what a refusal says."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

from dialogue.faults import TokenLogFenced, TokenLogUnavailable
from records.token_log import EVENT_KINDS

__all__ = [
    "check_kind",
    "closed",
    "damaged",
    "from_json",
    "full",
    "pack_ids",
    "piece_events",
    "replaced",
    "stream_ended",
    "to_json",
    "to_text",
    "try_over",
    "unpack_ids",
    "wrong_attempt",
    "wrong_offset",
]


def check_kind(kind: str) -> None:
    """Raises ValueError for a kind that no reader knows."""
    if kind not in EVENT_KINDS:
        raise ValueError(f"kind: {kind!r} is none of {', '.join(EVENT_KINDS)}.")


def to_json(data: Mapping[str, Any]) -> str:
    """ASCII alone, so that any text is kept as it is, lone surrogates among them."""
    return json.dumps(data, allow_nan=False)


def from_json(stream: str, stored: str | bytes) -> dict[str, Any]:
    """Raises TokenLogUnavailable for what is no object."""
    try:
        found = json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise damaged(stream)
    return cast("dict[str, Any]", found)


def piece_events(pieces: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Kind and data of the events that show ``pieces``: one for neighbours of one channel, none for no text."""
    for kind, group in groupby(pieces, key=itemgetter(0)):
        check_kind(kind)
        text = "".join(text for _, text in group)
        if text:
            yield kind, to_json({"text": text})


def pack_ids(token_ids: Sequence[int]) -> bytes:
    """Four bytes a token."""
    return struct.pack(f"<{len(token_ids)}I", *token_ids)


def unpack_ids(stream: str, packed: bytes) -> tuple[int, ...]:
    """Raises TokenLogUnavailable for what is cut."""
    try:
        return struct.unpack(f"<{len(packed) // 4}I", packed)
    except struct.error:
        raise damaged(stream) from None


def to_text(stream: str, stored: bytes) -> str:
    """Raises TokenLogUnavailable for what is no text."""
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise damaged(stream) from None


# refusals


def stream_ended(stream: str) -> TokenLogFenced:
    return TokenLogFenced(f"{stream}: its final event is written, so nothing more is written to it.")


def try_over(stream: str, try_number: int, higher: int) -> TokenLogFenced:
    return TokenLogFenced(f"{stream}: try {try_number} is over, try {higher} was opened.")


def replaced(stream: str, try_number: int, attempt: int, newest: int) -> TokenLogFenced:
    return TokenLogFenced(f"{stream}: attempt {attempt} of try {try_number} was replaced by {newest}.")


def wrong_attempt(stream: str, try_number: int, attempt: int, newest: int) -> TokenLogFenced:
    return TokenLogFenced(
        f"{stream}: attempt {attempt} of try {try_number} writes, but the attempt opened last is {newest}.",
        behind=newest < attempt,
    )


def wrong_offset(stream: str, try_number: int, attempt: int, expected: int, there: int) -> TokenLogFenced:
    return TokenLogFenced(
        f"{stream}: attempt {attempt} of try {try_number} writes at token {expected}, "
        f"but the log holds {there}: {'it lost some' if there < expected else 'somebody else wrote'}.",
        behind=there < expected,
    )


def full(stream: str, most: int) -> TokenLogUnavailable:
    return TokenLogUnavailable(
        f"{stream}: the log of one turn holds at most {most} bytes, and these are full. "
        "The turn goes on without a stream."
    )


def damaged(stream: str) -> TokenLogUnavailable:
    return TokenLogUnavailable(
        f"{stream}: its log is damaged: it holds what no version of this program writes. "
        "The turn goes on without a stream."
    )


def closed(where: object) -> TokenLogUnavailable:
    return TokenLogUnavailable(f"records.token_log: {where} was closed.")
