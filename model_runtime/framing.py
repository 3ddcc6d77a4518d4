"""Frames on a pipe: four bytes of length, big-endian, then one MessagePack map. No pickles cross it."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import asdict
from typing import Any, cast

import msgpack

from model_runtime.protocol import Finish, GenerationRequest, Sampling, TokenEvent

__all__ = ["LONGEST_FRAME", "pack", "pack_event", "pack_request", "read", "unpack_event", "unpack_request"]

LONGEST_FRAME = 64 << 20
_LENGTH = struct.Struct(">I")


def pack(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = cast("bytes", msgpack.packb(message))
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next frame's message; ``None`` at the end of the pipe, also in the middle of a frame.

    Raises :class:`ValueError` on what is no frame.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > LONGEST_FRAME:
            raise ValueError(f"a frame of {length} bytes: the pipe does not hold frames")
        message = msgpack.unpackb(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if not isinstance(message, dict):
        raise ValueError(f"a frame holds {type(message).__name__} instead of a map")
    return message


def pack_request(request: GenerationRequest) -> dict[str, Any]:
    return asdict(request)


def unpack_request(raw: dict[str, Any]) -> GenerationRequest:
    sampling: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in raw["sampling"].items()}
    return GenerationRequest(raw["id"], tuple(raw["prompt_ids"]), tuple(raw["prefix_ids"]), Sampling(**sampling))


def pack_event(event: TokenEvent) -> list[Any]:
    return [event.id, event.start, event.token_ids, event.finish, event.reused, event.logprobs]


def unpack_event(raw: list[Any]) -> TokenEvent:
    id_, start, token_ids, finish, reused, logprobs = raw
    likely = None if logprobs is None else tuple(logprobs)
    return TokenEvent(id_, start, tuple(token_ids), cast("Finish | None", finish), reused, likely)
