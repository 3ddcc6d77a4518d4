"""The main job, end to end: real server, real pools, real model, real index, real audit."""

from __future__ import annotations

import asyncio
import json
from typing import get_args

import httpx
import pytest

from dialogue.faults import MessageIdReused
from dialogue.messages import CancelTurn, DialogueStart
from dialogue.plan import StepName
from records.signing import Signer, check_receipt
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

SHOES = "How long do I have to send back shoes I bought online?"
STEPS: tuple[StepName, ...] = get_args(StepName)


async def test_an_english_question_is_generated_from_the_knowledge_base(site: Site) -> None:
    """All six steps run; the model itself wrote the answer; its citation's span stands in the document."""
    conversation = site.new()
    reply = await site.say(conversation, SHOES, "m1", say={"seed": 5})
    assert [step.step for step in reply.steps if step.try_number == 1] == list(STEPS)
    assert not any(step.skipped for step in reply.steps)
    assert (reply.verdict, reply.language, reply.intent) == ("pass", "en", "return_item")
    assert reply.model == site.settings.model.name
    assert reply.usage.completion_tokens > 0
    assert "30 days" in reply.answer
    assert reply.citations
    documents = {name: (site.repository / "examples" / "help" / name).read_text() for name in _documents(reply)}
    for citation in reply.citations:
        assert f"[{citation.number}]" in reply.answer
        assert citation.quote == documents[citation.document][citation.start : citation.end]
    (row,) = await site.rows(conversation)
    assert (row.input_text, row.output_text, row.verdict, row.user_id) == (SHOES, reply.answer, "pass", "anonymous")
    assert row.model_digest == reply.model_digest
    assert row.snapshot == reply.snapshot
    assert reply.receipt is not None
    check_receipt(reply.receipt, Signer.open(site.settings), question=SHOES, answer=reply.answer)
    assert (reply.receipt.audit_hash, reply.receipt.snapshot) == (row.hash, reply.snapshot)


def _documents(reply) -> set[str]:
    return {citation.document for citation in reply.citations}


async def test_a_question_out_of_scope_is_answered_kindly_and_not_generated(site: Site) -> None:
    """No knowledge is looked up and no token is made; the table says why."""
    reply = await site.say(site.new(), "Who won the football world cup in 1998?", "m1")
    assert reply.intent is None
    assert reply.verdict == "template"
    assert reply.usage.completion_tokens == 0
    assert [step.step for step in reply.steps if step.skipped] == [
        "retrieve_knowledge",
        "generate_answer",
        "review_answer",
    ]


async def test_a_phone_number_and_a_forbidden_word_are_masked_and_chinese_is_quoted(site: Site) -> None:
    """Neither reaches the audit or a later step; the model knows no Chinese, so the passages are quoted."""
    conversation = site.new()
    reply = await site.say(conversation, "我的手机号是13812345678，你们这些傻瓜，网上买的鞋子几天内可以退货？", "m1")
    assert reply.language == "zh"
    assert {finding.rule for finding in reply.findings} >= {"personal_data", "words"} or len(reply.findings) == 2
    (row,) = await site.rows(conversation)
    assert "13812345678" not in row.input_text
    assert "傻瓜" not in row.input_text
    assert "13812345678" not in reply.answer
    assert reply.usage.completion_tokens == 0
    assert "30" in reply.answer
    assert {citation.document.split("/")[0] for citation in reply.citations} == {"zh"}
    assert any("language unknown" in step.result for step in reply.steps)


async def test_a_message_sent_twice_at_once_leaves_one_turn_and_one_row(site: Site) -> None:
    """Both callers get the same reply; the same id with another text is refused."""
    conversation = site.new()
    first, second = await asyncio.gather(site.say(conversation, SHOES, "m1"), site.say(conversation, SHOES, "m1"))
    assert first == second
    with pytest.raises(MessageIdReused):
        await site.say(conversation, "What does delivery cost?", "m1")
    assert len(await site.rows(conversation)) == 1


async def test_the_stream_holds_the_whole_turn(site: Site) -> None:
    """A reader of the token log sees accepted, every step, the tokens of the answer, its citations and the final."""
    conversation = site.new()
    reply = await site.say(conversation, SHOES, "m1")
    events = await site.token_log.read(f"{conversation}/0001")
    kinds = [event.kind for event in events]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert kinds[-1] == "final"
    assert "accepted" in kinds
    assert [event.data["step"] for event in events if event.kind == "step"][:3] == list(STEPS[:3])
    assert events[-1].data["answer"] == reply.answer
    assert kinds.count("token") > 0


async def test_continue_as_new_keeps_transcript_ordering_and_idempotency(site: Site) -> None:
    """Forced every two turns on the real pools."""
    conversation, start = site.new(), {"turns_per_run": 2}
    questions = ["Hello!", "Thanks a lot", "Who won the world cup?", "Hello again", "Thank you very much"]
    replies = [await site.say(conversation, text, f"m{n}", start=start) for n, text in enumerate(questions)]
    assert [reply.turn for reply in replies] == [1, 2, 3, 4, 5]
    assert len({reply.run_id for reply in replies}) > 1
    again = await site.say(conversation, questions[1], "m1", start=start)
    assert (again.turn, again.answer) == (2, replies[1].answer)
    transcript = await site.conversations.transcript(conversation, "default")
    assert [turn.question for turn in transcript.turns] == questions
    assert len(await site.rows(conversation)) == 5


async def test_a_generation_is_cancelled_in_mid_answer(site: Site) -> None:
    """The reply says so, the row is written, the engine's row is free again and serves the next question."""
    conversation = site.new()
    said = asyncio.create_task(site.say(conversation, SHOES, "m1"))
    async for event in site.token_log.follow(f"{conversation}/0001"):
        if event.kind == "token":
            break
    await site.conversations.cancel_turn(conversation, CancelTurn(reason="the reader left"))
    reply = await said
    assert reply.verdict == "cancelled"
    (row,) = await site.rows(conversation)
    assert (row.verdict, row.note) == ("cancelled", "the reader left")
    assert (await site.say(conversation, SHOES, "m2")).verdict in ("pass", "template")


async def test_a_person_is_asked_and_decides(site: Site) -> None:
    """Asking for a person parks the turn; the decision is the answer and stands in the row."""
    from dialogue.messages import ResolveReview

    conversation = site.new()
    first = await site.say(conversation, "I want to talk to a real person please", "m1")
    assert (first.state, first.verdict) == ("waiting", "human")
    decision = ResolveReview(turn=1, decision="edit", answer="Ann will call you at ten.", by="ann")
    await site.conversations.resolve_review(conversation, decision)
    (row,) = await site.rows(conversation)
    assert (row.verdict, row.output_text) == ("human", "Ann will call you at ten.")
    again = await site.say(conversation, "I want to talk to a real person please", "m1")
    assert (again.state, again.answer) == ("done", "Ann will call you at ten.")


async def test_a_one_shot_through_the_gateway(site: Site) -> None:
    """POST /v1/chat gives answer, citations, trace link and usage; its OpenAPI document and probes answer."""
    async with httpx.AsyncClient(base_url=site.gateway_url, timeout=120) as client:
        body = {"messages": [{"role": "user", "content": SHOES}], "seed": 5}
        answer = (await client.post("/v1/chat", json=body)).json()
        assert answer["verdict"] in ("pass", "template")
        assert answer["usage"]["total_tokens"] > 0
        assert answer["trace_url"].endswith(f"/workflows/{answer['workflow_id']}/{answer['run_id']}")
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")
        problem = await client.post("/v1/chat", json={"messages": [], "colour": "red"})
        assert problem.status_code == 422
        assert problem.headers["content-type"].startswith("application/problem+json")
        unknown = await client.post("/v1/chat", json={**body, "tenant": "nobody"})
        assert unknown.status_code == 404


@pytest.mark.full
async def test_the_same_seed_gives_the_same_answer(site: Site) -> None:
    """Asked alone and beside seven others, a seeded question has the same tokens."""
    alone = await site.conversations.ask(DialogueStart(question=SHOES, seed=11))
    beside = await asyncio.gather(
        *(site.conversations.ask(DialogueStart(question=SHOES, seed=seed)) for seed in range(11, 19))
    )
    assert beside[0].answer == alone.answer
    assert beside[0].usage == alone.usage


async def test_every_process_shows_its_metrics(site: Site) -> None:
    """The SDK's and our own families stand on one page of each worker, and on the gateway's."""
    async with httpx.AsyncClient(timeout=20) as client:
        for pool in ("dialogue", "gpu"):
            page = (await client.get(site.metrics_url(pool))).text
            assert "temporal_" in page
            assert "parley_step_milliseconds" in page
        assert "parley_gateway_requests_total" in (await client.get(f"{site.gateway_url}/metrics")).text


async def test_log_lines_are_json_and_never_hold_what_was_said(site: Site) -> None:
    """Each line of a worker's log is an object with its context; the question's words are in none of them."""
    secret = "My locker word is quetzalcoatl, how long do I have to return shoes?"
    conversation = site.new()
    await site.say(conversation, secret, "m1")
    text = (site.layout.logs / "dialogue.log").read_text() + (site.layout.logs / "gpu.log").read_text()
    assert "quetzalcoatl" not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    ours = [line for line in lines if line.get("conversation") == conversation]
    assert {line["step"] for line in ours} >= {"receive_input", "return_answer"}
    assert all(line["workflow_id"] == conversation and line["turn"] == 1 for line in ours)
