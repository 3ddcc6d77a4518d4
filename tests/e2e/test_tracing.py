"""One message, one trace: from the gateway through Temporal and the six steps into the engine; and no text in it, nor
in any line of any process's log."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.support.otlp_receiver import ReceivedSpan
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

STEPS = ["receive_input", "recognise_intent", "retrieve_knowledge", "generate_answer", "review_answer", "return_answer"]
MARKER = "zanzibar-umbrella"
QUESTION = f"How long do I have to send back {MARKER} shoes I bought online?"


def _of(spans: list[ReceivedSpan], conversation: str) -> list[ReceivedSpan]:
    traces = {span.trace for span in spans if span.attributes.get("gen_ai.conversation.id") == conversation}
    return [span for span in spans if span.trace in traces]


def _complete(spans: list[ReceivedSpan]) -> bool:
    names = {span.name for span in spans}
    return {*STEPS, "decode", "POST /v1/chat"} <= names and any(name.startswith("invoke_workflow") for name in names)


def _final(stream: str) -> dict[str, Any]:
    """What the last server-sent event tells."""
    kind, data = stream.rstrip().splitlines()[-2:]
    assert kind == "event: final", stream
    return json.loads(data.removeprefix("data: "))


async def test_a_message_is_one_trace_and_leaves_no_text(site: Site) -> None:
    """The caller's own trace goes on; each span has its parent, its process and the conventions' attributes."""
    collector, conversation = site.collector, site.new()
    assert collector is not None
    trace, caller = f"{time.time_ns():032x}", "c" * 16
    message = {"messages": [{"role": "user", "content": QUESTION}], "seed": 5, "stream": True}
    async with httpx.AsyncClient(base_url=site.gateway_url, timeout=120) as client:
        response = await client.post(
            "/v1/chat",
            json={**message, "conversation": conversation},
            headers={"traceparent": f"00-{trace}-{caller}-01"},
        )
    assert response.status_code == 200, response.text
    reply = _final(response.text)
    spans = _of(await collector.until(lambda every: _complete(_of(every, conversation)), seconds=60), conversation)
    by_name = {span.name: span for span in spans}

    def parent_of(name: str) -> str:
        return next((span.name for span in spans if span.id == by_name[name].parent), by_name[name].parent)

    assert {span.trace for span in spans} == {trace}
    assert parent_of("POST /v1/chat") == caller
    assert parent_of("invoke_workflow ConversationWorkflow") == "POST /v1/chat"
    assert {parent_of(step) for step in STEPS} == {"invoke_workflow ConversationWorkflow"}
    (chat,) = [span for span in spans if span.name.startswith("chat ")]
    assert (parent_of(chat.name), parent_of("prefill"), parent_of("decode")) == (
        "generate_answer",
        chat.name,
        chat.name,
    )
    assert {span.service for span in spans} == {"parley-gateway", "parley-dialogue", "parley-gpu"}
    _checks_chat(chat, reply)
    invoked = by_name["invoke_workflow ConversationWorkflow"].attributes
    assert (invoked["gen_ai.conversation.id"], invoked["parley.tenant"]) == (conversation, "default")
    assert "parley.cancelled" not in invoked
    assert by_name["POST /v1/chat"].attributes["http.response.status_code"] == 200
    assert by_name["retrieve_knowledge"].attributes["gen_ai.data_source.id"] == reply["snapshot"]
    assert by_name["review_answer"].attributes["parley.verdict"] == reply["verdict"]
    said = _said(reply)
    assert [text for text in said for sent in collector.bodies if text.encode() in sent] == []
    _checks_logs(site, conversation, trace, said)


def _said(reply: dict[str, Any]) -> list[str]:
    """Pieces of the question, the answer and the passages, as they stand in text and in JSON."""
    pieces = [MARKER, reply["answer"][:30], *(each["quote"][:30] for each in reply["citations"])]
    return [form for piece in pieces for form in {piece, json.dumps(piece)[1:-1]}]


def _checks_chat(chat: ReceivedSpan, reply: dict[str, object]) -> None:
    told = chat.attributes
    usage = reply["usage"]
    assert isinstance(usage, dict)
    assert (told["gen_ai.operation.name"], told["gen_ai.request.model"]) == ("chat", reply["model"])
    assert told["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert told["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert told["gen_ai.response.finish_reasons"] in (["stop"], ["length"], ["repetition"])  # as its seed has it
    assert 0 < told["gen_ai.response.time_to_first_chunk"] < chat.end - chat.start


def _checks_logs(site: Site, conversation: str, trace: str, spoken: list[str]) -> None:
    """Every line of the turn says whose it is, no line is anything but JSON, and none says what was written."""
    logs = {path.name: path.read_text("utf-8", "replace") for path in site.layout.logs.glob("*.log")}
    assert {"gateway.log", "dialogue.log", "gpu.log"} <= set(logs)
    assert [(name, said) for name, text in logs.items() for said in spoken if said in text] == []
    every = [json.loads(line) for name in ("gateway", "dialogue", "gpu") for line in logs[f"{name}.log"].splitlines()]
    lines = [line for line in every if conversation in (line.get("conversation"), line.get("workflow_id"))]
    (request,) = [line for line in lines if line["event"] == "request"]
    told = {"process": "gateway", "turn": 1, "workflow_id": conversation, "trace_id": trace, "status": 200}
    assert told.items() <= request.items()
    steps = {line["step"]: line for line in lines if line["event"] == "step done"}
    assert sorted(steps) == sorted([*STEPS, "recall_conversation"])  # the caller chose the conversation's id
    for line in map(steps.__getitem__, STEPS):
        assert (line["conversation"], line["turn"], line["workflow_id"]) == (conversation, 1, conversation)
    assert {line["trace_id"] for line in lines} == {trace}
