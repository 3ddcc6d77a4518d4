"""A turn's stream where its log ends before the turn does: the reply ends it, and what does not stand is withdrawn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dialogue.messages import TurnKey
from dialogue.turn import Reply
from gateway import turn_streams
from gateway.turn_streams import Place, open_streams
from records.open_token_log import open_token_log
from settings.layout import Layout
from tests.gateway.conftest import settings_on

TEXT = "You have thirty days from delivery. " * 40


@pytest.mark.parametrize(
    ("tenant", "verdict", "withdrawn"),
    [
        ("open", "pass", False),
        ("open", "mask", True),  # what the review covers was shown
        ("open", "block", True),
        ("gated", "mask", False),  # it never was
        ("gated", "block", True),
    ],
)
async def test_what_does_not_stand_is_withdrawn_without_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenant: str, verdict: str, withdrawn: bool
) -> None:
    """As the log's own last event would have it."""
    monkeypatch.setattr(turn_streams, "LATE_SECONDS", 0.0)
    settings = settings_on("nowhere").model_copy(update={"data": tmp_path})
    key = TurnKey(conversation="conv-1", turn=1, tenant=tenant)
    token_log = open_token_log(settings.records, Layout.of(settings))
    await token_log.open_attempt(key.stream, 1, 0, 1)
    await token_log.append_tokens(key.stream, 1, 0, 1, 0, [1], [("token", TEXT)])
    await token_log.close()
    told = {"conversation": "conv-1", "turn": 1, "message_id": "m-1", "tenant": tenant, "state": "done"}
    said = {"answer": "Thirty days.", "language": "en", "workflow_id": "conv-1", "run_id": "r", "received_at": 0.0}
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    async with open_streams(settings, lambda *_: "") as streams:
        follow = streams.follow(Place("conv-1", "m-1", 1), tenant, settings.tenants[tenant], reply)
        kinds = [(await anext(follow)).kind]
        reply.set_result(Reply.model_validate({**told, **said, "verdict": verdict}))
        kinds += [event.kind async for event in follow]
    assert kinds == ["token", *(["retract"] if withdrawn else []), "final"]
