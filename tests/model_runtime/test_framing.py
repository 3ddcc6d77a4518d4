"""Frames on a pipe."""

from __future__ import annotations

import asyncio
import struct
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runtime import framing
from model_runtime.protocol import Finish, GenerationRequest, Sampling, TokenEvent

ids = st.lists(st.integers(0, 2**31), max_size=20).map(tuple)
requests = st.builds(
    GenerationRequest,
    id=st.text(),
    prompt_ids=ids,
    prefix_ids=ids,
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        seed=st.integers(0, 2**53),
        stop_token_ids=ids,
        thinking_budget=st.none() | st.integers(0, 99),
        watch=st.booleans(),
    ),
)
events = st.builds(
    TokenEvent,
    id=st.text(),
    start=st.integers(0, 2**40),
    token_ids=ids,
    finish=st.sampled_from([None, *get_args(Finish)]),
)


async def _read_all(data: bytes) -> list[dict[str, object]]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while (message := await framing.read(reader)) is not None:
        found.append(message)
    return found


@given(st.lists(requests, max_size=3), events)
def test_what_is_packed_comes_out_the_same(sent: list[GenerationRequest], event: TokenEvent) -> None:
    """Requests and events cross the pipe unchanged, however many frames follow each other."""
    data = b"".join(framing.pack({"request": framing.pack_request(request)}) for request in sent)
    data += framing.pack({"event": framing.pack_event(event)})
    *first, last = asyncio.run(_read_all(data))
    assert [framing.unpack_request(message["request"]) for message in first] == sent  # type: ignore[arg-type]
    assert framing.unpack_event(last["event"]) == event  # type: ignore[arg-type]


async def test_a_pipe_that_ends_in_a_frame_ends() -> None:
    """Half a frame is no message; the whole one before it is."""
    whole = framing.pack({"op": "ready"})
    assert await _read_all(whole + whole[:-2]) == [{"op": "ready"}]


@pytest.mark.parametrize("data", [b"Traceback (most recent", struct.pack(">I", 1) + b"\x05"])
async def test_what_is_no_frame_is_refused(data: bytes) -> None:
    """Text or a lone number on the pipe raises ValueError instead of waiting for ever."""
    with pytest.raises(ValueError, match="frame"):
        await _read_all(data)
