"""People judge answers: feedback is kept whatever became of its conversation, and reviews are decided over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from dialogue.faults import RecordsUnavailable
from dialogue.turn import Transcript
from gateway.reviews import waiting_review
from records.audit import AuditLog, AuditRow
from records.database import connect_database, migrate
from settings.layout import Layout
from tests.gateway.conftest import Front, Raising

DOUBTFUL = {"messages": [{"role": "user", "content": "A doubtful question"}]}


@asynccontextmanager
async def _audit(front: Front) -> AsyncIterator[AuditLog]:
    """The site's, with its tables, as a worker makes them."""
    url = Layout.of(front.settings).database_url("sqlite")
    await migrate(url)
    database = connect_database(url)
    try:
        yield AuditLog(database)
    finally:
        await database.dispose()


def _row(conversation: str, turn: int) -> AuditRow:
    return AuditRow(
        tenant="default",
        conversation=conversation,
        turn=turn,
        message_id=f"m{turn}",
        user_id="ann",
        input_text="How long?",
        output_text="30 days.",
        timestamp=1.0,
        verdict="pass",
    )


async def _until(found: Any) -> None:
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110 - a signal has no answer, and Temporal no event
            await asyncio.sleep(0.02)


async def _feedback(front: Front, conversation: str, turn: int = 1, **more: Any) -> httpx.Response:
    return await front.http.post(
        "/v1/feedback", json={"conversation": conversation, "turn": turn, "score": 1, "comment": "clear", **more}
    )


# feedback -----------------------------------------------------------------------------------------


async def test_feedback_goes_to_the_running_conversation(front: Front) -> None:
    """202: it is the conversation that keeps it, with who said it."""
    conversation = (await front.post(conversation=front.new())).json()["conversation"]
    response = await _feedback(front, conversation, user="ann")
    assert (response.status_code, response.json()) == (
        202,
        {"conversation": conversation, "turn": 1, "score": 1, "state": "accepted"},
    )
    await _until(lambda: front.steps.feedback)
    ((name, kept),) = front.steps.feedback
    assert (name, kept.turn, kept.score, kept.user, kept.comment) == (conversation, 1, 1, "ann", "clear")


@pytest.mark.parametrize("one_shot", [True, False], ids=["one-shot", "closed"])
async def test_feedback_is_kept_when_nothing_runs_any_more(front: Front, one_shot: bool) -> None:
    """200: it is in the audit; said again, the newer opinion stands."""
    reply = (await front.post(**({} if one_shot else {"conversation": front.new()}))).json()
    conversation = reply["conversation"]
    if not one_shot:
        await front.conversations.close(conversation, "default")
        await front.client.get_workflow_handle(conversation).result()
    async with _audit(front) as audit:
        first = await _feedback(front, conversation, score=-1)
        second = await _feedback(front, conversation)
        kept = await audit.feedback(conversation, "default")
    assert [first.status_code, second.status_code] == [200, 200], first.text
    assert second.json()["state"] == "kept"
    assert [(each.turn, each.user, each.score) for each in kept] == [(1, "anonymous", 1)]
    assert front.steps.feedback == []


async def test_feedback_outlives_temporals_retention(front: Front) -> None:
    """What Temporal has forgotten the audit still knows: by tenant and turn."""
    conversation = front.new()
    async with _audit(front) as audit:
        await audit.append(_row(conversation, 3))
        answers = [
            await _feedback(front, conversation, 3),
            await _feedback(front, conversation, 4),
            await _feedback(front, conversation, 3, tenant="acme"),
        ]
        kept = await audit.feedback(conversation, "default")
    assert [answer.status_code for answer in answers] == [200, 404, 404]
    assert [each.turn for each in kept] == [3]


async def test_feedback_on_what_is_not_there(front: Front) -> None:
    """A turn that was never taken, and another tenant's conversation, which reads like one that never was."""
    conversation = (await front.post(conversation=front.new())).json()["conversation"]
    async with _audit(front):
        missing = await _feedback(front, conversation, 2)
        foreign = await _feedback(front, conversation, tenant="acme")
        never = await _feedback(front, "conv-never", tenant="acme")
    assert (missing.status_code, missing.json()["type"]) == (404, "/docs#no-such-turn")
    assert missing.json()["detail"] == f"turn: {conversation} has no turn 2; it has 1."
    assert (foreign.status_code, never.status_code) == (404, 404)
    assert foreign.json()["detail"].replace(conversation, "conv-never") == never.json()["detail"]


async def test_feedback_while_the_records_are_away(front: Front) -> None:
    """503, so that it is sent again, and no thanks for what nobody kept."""
    conversation = (await front.post()).json()["conversation"]
    response = await _feedback(front, conversation)
    assert (response.status_code, response.json()["type"]) == (503, "/docs#records-unavailable")


# reviews ------------------------------------------------------------------------------------------


async def test_a_review_is_listed_and_decided(front: Front) -> None:
    """The list tells what was asked, what would be sent and since when; the decision's answer is the reply."""
    waiting = (await front.post(conversation=front.new(), **DOUBTFUL)).json()
    assert waiting["state"] == "waiting"

    async def listed() -> list[dict[str, Any]]:
        response = await front.http.get("/v1/reviews", params={"tenant": "default"})
        assert response.status_code == 200, response.text
        return [each for each in response.json()["reviews"] if each["conversation"] == waiting["conversation"]]

    async with asyncio.timeout(20):
        while not (found := await listed()):  # noqa: ASYNC110 - Temporal's index follows a moment later
            await asyncio.sleep(0.05)
    (review,) = found
    assert (review["turn"], review["tenant"], review["question"]) == (1, "default", "A doubtful question")
    assert (review["draft"]["answer"], review["draft"]["reason"]) == ("You have 30 days [1]. (0)", "a rule")
    assert review["since"] > 1_700_000_000
    decided = await front.http.post(
        f"/v1/reviews/{waiting['conversation']}",
        json={"turn": 1, "decision": "edit", "answer": "Two weeks.", "by": "rob", "note": "wrong"},
    )
    assert decided.status_code == 200, decided.text
    assert (decided.json()["answer"], decided.json()["verdict"], decided.json()["state"]) == (
        "Two weeks.",
        "human",
        "done",
    )
    again = await front.http.post(
        f"/v1/reviews/{waiting['conversation']}", json={"turn": 1, "decision": "approve", "by": "rob"}
    )
    assert (again.status_code, again.json()["type"]) == (404, "/docs#no-such-review")
    assert await listed() == []


async def test_only_conversations_that_wait_are_asked(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that once waited keeps the verdict for good; a list of today's reviews costs nothing for it."""
    conversation = (await front.post(conversation=front.new(), **DOUBTFUL)).json()["conversation"]
    asked: list[str] = []
    transcript = front.conversations.transcript

    async def counted(of: str, tenant: str) -> Transcript:
        asked.append(of)
        return await transcript(of, tenant)

    async def asked_for_it() -> bool:
        asked.clear()
        assert (await front.http.get("/v1/reviews", params={"tenant": "default"})).status_code == 200
        return conversation in asked

    monkeypatch.setattr(front.conversations, "transcript", counted)
    async with asyncio.timeout(20):
        while not await asked_for_it():  # noqa: ASYNC110 - Temporal's index follows a moment later
            await asyncio.sleep(0.05)
        decision = {"turn": 1, "decision": "approve", "by": "rob", "tenant": "default"}
        assert (await front.http.post(f"/v1/reviews/{conversation}", json=decision)).status_code == 200
        while await asked_for_it():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


async def test_a_review_is_its_tenants(front: Front) -> None:
    """Another tenant neither sees nor decides it."""
    waiting = (await front.post(conversation=front.new(), **DOUBTFUL)).json()
    decision = {"turn": 1, "decision": "approve", "by": "rob", "tenant": "acme"}
    refused = await front.http.post(f"/v1/reviews/{waiting['conversation']}", json=decision)
    assert (refused.status_code, refused.json()["type"]) == (404, "/docs#unknown-conversation")
    assert (await front.http.get("/v1/reviews?tenant=acme")).json() == {"reviews": []}
    assert (await front.http.get("/v1/reviews?tenant=nobody")).status_code == 404
    approved = await front.http.post(
        f"/v1/reviews/{waiting['conversation']}", json={**decision, "tenant": "default", "decision": "reject"}
    )
    assert approved.status_code == 200


async def test_where_the_intent_asks_for_a_person_there_is_no_draft(front: Front) -> None:
    """It still says since when it waits, and shows the files that came with the question and with no other."""
    conversation = front.new()
    file = {"filename": "terms.txt", "file_data": "data:text/plain;base64,MzAgZGF5cw=="}
    parts: list[dict[str, Any]] = [{"type": "text", "text": "A human please"}, {"type": "file", "file": file}]
    before = [{**parts[1], "file": {**file, "filename": "earlier.txt"}}, {"type": "text", "text": "How long?"}]
    await front.post(messages=[{"role": "user", "content": before}], conversation=conversation)
    waiting = (await front.post(messages=[{"role": "user", "content": parts}], conversation=conversation)).json()
    review = await waiting_review(front.conversations, waiting["conversation"], 2, "default")
    assert review.draft is None
    assert [(each.name, each.text) for each in review.files] == [("terms.txt", "30 days")]
    assert review.since is not None
    assert review.since > 1_700_000_000
    await front.client.get_workflow_handle(waiting["conversation"]).terminate()


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/feedback", {"turn": 1, "score": 1}, "conversation"),
    ("/v1/feedback", {"conversation": "c", "turn": 0, "score": 1}, "turn"),
    ("/v1/feedback", {"conversation": "c", "turn": 1, "score": 2}, "score"),
    ("/v1/feedback", {"conversation": "c", "turn": 1, "score": 0.5}, "score"),
    ("/v1/feedback", {"conversation": "c", "turn": 2**40, "score": 0}, "turn"),
    ("/v1/feedback", {"conversation": "a b", "turn": 1, "score": 0}, "conversation"),
    ("/v1/feedback", {"conversation": "c", "turn": 1, "score": 0, "comment": "x" * 2001}, "comment"),
    ("/v1/feedback", {"conversation": "c", "turn": 1, "score": 0, "stars": 5}, "stars"),
    ("/v1/reviews/c", {"turn": 1, "decision": "approve"}, "by"),
    ("/v1/reviews/c", {"turn": 1, "decision": "maybe", "by": "rob"}, "decision"),
    ("/v1/reviews/c", {"turn": 1, "decision": "edit", "by": "rob"}, "answer"),
    ("/v1/reviews/c", {"turn": 1, "decision": "reject", "answer": "no", "by": "rob"}, "answer"),
]


@pytest.mark.parametrize(("path", "body", "field"), BAD, ids=[f"{n}-{bad[2]}" for n, bad in enumerate(BAD)])
async def test_bad_fields(alone: httpx.AsyncClient, path: str, body: dict[str, Any], field: str) -> None:
    """Each is refused by name before anything is asked of Temporal."""
    response = await alone.post(path, json=body)
    assert (response.status_code, response.json()["field"]) == (422, field), response.text


async def test_without_temporal_both_say_so(alone: httpx.AsyncClient, raising: Raising) -> None:
    """503 with what to do, like every other route."""
    raising.fault = RecordsUnavailable("temporal: away")
    given = {"conversation": "c", "turn": 1, "score": 1}
    decision = {"turn": 1, "decision": "approve", "by": "rob"}
    assert (await alone.post("/v1/feedback", json=given)).status_code == 503
    assert (await alone.post("/v1/reviews/c", json=decision)).status_code == 503


# who am I -----------------------------------------------------------------------------------------


async def test_whoami_where_access_is_open(alone: httpx.AsyncClient) -> None:
    """Anyone may use every tenant, and the caller names which."""
    response = await alone.get("/v1/whoami")
    assert response.status_code == 200
    told = response.json()
    assert (told["tenant"], told["user"], told["access"]) == (None, None, "open")
    assert told["tenants"][:2] == ["default", "acme"]
    assert set(told["scopes"]) >= {"chat", "review", "operate"}
    assert told["web_ui"] == "http://127.0.0.1:8233"
    assert told["languages"] == ["en"]
    assert (told["max_files"], told["max_characters"]["default"], told["max_characters"]["acme"]) == (4, 8000, 20)
