"""gRPC-Web and Connect, frame by frame: what is asked, what is refused and with which status."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.datastructures import Headers

from dialogue.faults import RecordsUnavailable
from gateway.access import Access
from gateway.app import create_app
from gateway.caller import Caller
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from gateway.turn_streams import open_streams
from settings.schema import Settings
from tests.gateway.conftest import Front, Raising, http
from tests.support.scripted_steps import SAID

WEB = "application/grpc-web+proto"
SERVICE = "/parley.v1.Dialogues/"


def frame(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def said(content: str, **more: Any) -> wire.SayRequest:
    return wire.SayRequest(messages=[wire.Message(role="user", content=content)], **more)


@dataclass
class Called:
    """What a call over gRPC-Web gave."""

    status: int
    headers: httpx.Headers
    messages: list[bytes]
    trailers: dict[str, str]

    @property
    def events(self) -> list[wire.Event]:
        return [wire.Event.FromString(each) for each in self.messages]

    @property
    def refusal(self) -> tuple[str, str]:
        """The status and the message."""
        return self.trailers["grpc-status"], unquote(self.trailers["grpc-message"])

    @property
    def problem(self) -> wire.Problem:
        return problem_in(self.trailers["grpc-status-details-bin"])


def problem_in(details: str) -> wire.Problem:
    """The problem in a ``google.rpc.Status``: its third field holds an Any, whose second holds the message."""
    status = base64.b64decode(details + "==")
    packed = status[status.index(b"parley.v1.Problem") + len("parley.v1.Problem") :]
    assert packed[0] == 0x12
    length, start = packed[1], 2
    if length & 0x80:
        length, start = (length & 0x7F) | packed[2] << 7, 3
    return wire.Problem.FromString(packed[start : start + length])


def frames_of(body: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        found.append((flags, body[5 : 5 + length]))
        assert len(body) >= 5 + length, "a frame is cut off"
        body = body[5 + length :]
    return found


def called(response: httpx.Response) -> Called:
    """The last frame holds the trailers; there is exactly one, and nothing is behind it."""
    frames = frames_of(response.content)
    assert [flags for flags, _ in frames] == [0] * (len(frames) - 1) + [0x80]
    lines = frames[-1][1].decode().strip().split("\r\n")
    trailers = dict(line.split(": ", 1) for line in lines)
    return Called(response.status_code, response.headers, [message for _, message in frames[:-1]], trailers)


async def post(
    http: httpx.AsyncClient, method: str, content: bytes, kind: str = WEB, **headers: str | bytes
) -> httpx.Response:
    named: dict[str, Any] = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post(f"{SERVICE}{method}", content=content, headers={"Content-Type": kind, **named})


async def call(http: httpx.AsyncClient, method: str, request: Any, **headers: Any) -> Called:
    return called(await post(http, method, frame(request.SerializeToString()), **headers))


# gRPC-Web -----------------------------------------------------------------------------------------


async def test_a_question_is_answered(front: Front) -> None:
    answered = await call(front.http, "Say", said("How long?", user="ana"))
    assert (answered.status, answered.trailers["grpc-status"]) == (200, "0")
    assert answered.headers["content-type"] == WEB
    reply = wire.SayResponse.FromString(answered.messages[0]).reply
    assert (reply.answer, reply.verdict, reply.state) == (f"{SAID} (0)", "pass", "done")
    assert reply.usage.total_tokens == 28
    assert reply.steps[0].step == "receive_input"
    assert reply.trace_url.endswith(reply.run_id)
    assert answered.headers["x-parley-conversation"] == reply.conversation
    assert front.steps.called("receive_input")[0].user == "ana"


async def test_a_turn_is_streamed_and_resumed_behind_any_event(front: Front) -> None:
    """Ids only grow; the last event holds the whole reply; whatever was read before, the rest is the same bytes."""
    conversation = front.new()
    whole = await call(front.http, "SayStreamed", said("That goes bad.", tenant="open", conversation=conversation))
    assert whole.trailers == {"grpc-status": "0"}
    assert whole.headers["x-accel-buffering"] == "no"
    assert "no-transform" in whole.headers["cache-control"]
    events = whole.events
    kinds = [event.WhichOneof("kind") for event in events]
    assert kinds[0] == "accepted"
    assert kinds.index("retract") == kinds.index("retry") - 1 > kinds.index("token")
    assert kinds[-1] == "final"
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert events[-1].final.conversation == conversation
    for read, last in enumerate([0, *(event.id for event in events)]):
        again = await call(
            front.http, "Resume", wire.ResumeRequest(conversation=conversation, tenant="open", turn=1, after=last)
        )
        assert again.messages == whole.messages[read:]


async def test_the_same_as_over_server_sent_events(front: Front) -> None:
    """The same ids, kinds and texts."""
    conversation = front.new()
    rpc = await call(front.http, "SayStreamed", said("How long?", tenant="open", conversation=conversation))
    sse = await front.http.get(f"/v1/chat/{conversation}/stream", params={"tenant": "open", "turn": 1})
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in sse.text.strip().split("\n\n")]
    told = [(event.id, event.WhichOneof("kind")) for event in rpc.events]
    assert told == [(int(block["id"]), block["event"]) for block in blocks]
    final = json.loads(blocks[-1]["data"])
    assert (rpc.events[-1].final.answer, rpc.events[-1].final.run_id) == (final["answer"], final["run_id"])


async def test_a_conversation_is_read_judged_and_cancelled(front: Front) -> None:
    conversation = front.new()
    slow = asyncio.create_task(call(front.http, "Say", said("A slow one.", conversation=conversation)))
    await front.steps.running.wait()
    cancelled = await call(front.http, "Cancel", wire.CancelRequest(conversation=conversation, reason="enough"))
    assert wire.CancelResponse.FromString(cancelled.messages[0]).turn == 1
    assert wire.SayResponse.FromString((await slow).messages[0]).reply.verdict == "cancelled"
    read = await call(front.http, "Transcript", wire.TranscriptRequest(conversation=conversation))
    turn = wire.TranscriptResponse.FromString(read.messages[0]).turns[0]
    assert (turn.turn, turn.question, turn.verdict, turn.state) == (1, "A slow one.", "cancelled", "done")
    nothing = await call(front.http, "Cancel", wire.CancelRequest(conversation=conversation))
    assert nothing.refusal[0] == "9"
    judged = wire.FeedbackRequest(conversation=conversation, turn=1, score=0, comment="so so", user="ana")
    assert (await call(front.http, "Feedback", judged)).trailers["grpc-status"] == "0"
    kept = await front.steps.judged.get()
    assert (kept.turn, kept.score, kept.comment, kept.user) == (1, 0, "so so", "ana")
    judged.turn = 2
    assert (await call(front.http, "Feedback", judged)).refusal[0] == "5"
    judged.ClearField("score")
    assert (await call(front.http, "Feedback", judged)).problem.field == "score"


async def test_a_turn_that_waits_for_a_person_says_so(front: Front) -> None:
    answered = await call(front.http, "Say", said("This is doubtful.", conversation=front.new()))
    assert wire.SayResponse.FromString(answered.messages[0]).reply.state == "waiting"


async def test_a_message_id_is_answered_once(front: Front) -> None:
    """Also where the header brings it; another text under it is refused."""
    conversation = front.new()
    first = await call(front.http, "Say", said("How long?", conversation=conversation), idempotency_key="m-1")
    again = await call(front.http, "Say", said("How long?", conversation=conversation, message_id="m-1"))
    assert first.messages == again.messages
    assert len(front.steps.called("generate_answer")) == 1
    other = await call(front.http, "SayStreamed", said("Other", conversation=conversation), idempotency_key="m-1")
    assert other.refusal[0] == "6"
    assert (other.problem.type, other.problem.status) == ("/docs#message-id-reused", 409)


async def test_what_is_wrong_with_a_field_is_told_as_over_http(front: Front) -> None:
    """The same words, type and field; nothing is sent to the workflow."""
    wrong = {
        "seed": (said("How long?", seed=-1), {"seed": -1}),
        "temperature": (said("How long?", temperature=3), {"temperature": 3.0}),
        "on_busy": (said("How long?", on_busy="wait"), {"on_busy": "wait"}),
        "tenant": (said("How long?", tenant="nobody"), {"tenant": "nobody"}),
        "model": (said("How long?", model="nothing"), {"model": "nothing"}),
        "conversation": (said("How long?", conversation="a b"), {"conversation": "a b"}),
        "messages.0.content": (said("\0"), {"messages": [{"role": "user", "content": "\0"}]}),
    }
    for field, (request, body) in wrong.items():
        rpc = await call(front.http, "Say", request)
        rest = (await front.post(**body)).json()
        assert (rpc.problem.detail, rpc.problem.type, rpc.problem.status, rpc.problem.field) == (
            rest["detail"],
            rest["type"],
            rest["status"],
            field,
        )
        assert rpc.refusal == ({404: "5", 422: "3"}[rest["status"]], rest["detail"])
        assert rpc.problem.instance == rpc.headers["x-request-id"]
    assert not front.steps.calls


async def test_what_is_wrong_with_a_file_is_told_by_its_place(front: Front) -> None:
    """Over HTTP it is a part of the content; here it has a number."""
    for file, field in (
        (wire.File(name="a.txt"), "text"),
        (wire.File(name="two\nlines", text="x"), "name"),
        (wire.File(name="a.txt", text="\0"), "text"),
    ):
        message = wire.Message(role="user", content="How long?", files=[wire.File(name="b.txt", text="b"), file])
        refused = await call(front.http, "Say", wire.SayRequest(messages=[message]))
        assert (refused.problem.status, refused.problem.field) == (422, f"messages.0.files.1.{field}")
    assert not front.steps.calls


async def test_messages_that_nobody_can_use(front: Front) -> None:
    """No message, several bad fields, numbers that are none, a name that no conversation has."""
    empty = await call(front.http, "Say", wire.SayRequest())
    assert empty.refusal == ("3", "messages: is missing. Give it a value.")
    several = await call(front.http, "SayStreamed", said("How long?", seed=-1, max_tokens=0))
    assert [each.field for each in several.problem.errors] == ["seed", "max_tokens"]
    for number in (float("nan"), float("inf")):
        assert (await call(front.http, "Say", said("How long?", temperature=number))).problem.field == "temperature"
    for method, request in (
        ("Transcript", wire.TranscriptRequest()),
        ("Cancel", wire.CancelRequest(conversation="a b")),
        ("Resume", wire.ResumeRequest(conversation="conv-never")),
    ):
        refused = await call(front.http, method, request)
        assert (refused.refusal[0], refused.problem.type) == ("5", "/docs#unknown-conversation")
    key = await call(front.http, "Say", said("How long?"), idempotency_key=b"\xe9")
    assert key.problem.field == "Idempotency-Key"


async def test_a_busy_conversation_says_when_to_come_again(front: Front) -> None:
    conversation = front.new()
    slow = asyncio.create_task(call(front.http, "Say", said("slow", conversation=conversation)))
    await front.steps.running.wait()
    refused = await call(front.http, "SayStreamed", said("Other", conversation=conversation, on_busy="reject"))
    assert refused.refusal[0] == "8"
    assert refused.headers["retry-after"] == "2"
    front.steps.release.set()
    await slow


BROKEN = {
    "no frame at all": (b"", "12"),
    "a frame that is cut off": (frame(said("How long?").SerializeToString())[:-3], "3"),
    "half a head": (b"\0\0", "3"),
    "a length that is not kept": (struct.pack(">BI", 0, 900) + b"x", "3"),
    "two messages": (frame(said("How long?").SerializeToString()) * 2, "12"),
    "flags that nobody knows": (frame(b"", 0x40), "3"),
    "a trailers frame": (frame(b"grpc-status: 0\r\n", 0x80), "3"),
    "no protobuf": (frame(b"\xff\xff\xff"), "3"),
    "no UTF-8": (frame(b"\x0a\x06\x12\x04\xff\xfe\xfd\xfc"), "3"),
    "compressed, and no word how": (frame(gzip.compress(said("How long?").SerializeToString()), 1), "13"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("method", ["Say", "SayStreamed"])
async def test_broken_frames(front: Front, method: str, name: str) -> None:
    """Each gets a status of its own and nothing is said."""
    content, status = BROKEN[name]
    assert called(await post(front.http, method, content)).trailers["grpc-status"] == status
    assert not front.steps.calls


async def test_compressed_messages(front: Front) -> None:
    """gzip is taken where it is named; what it unpacks to is bounded; another name is refused."""
    packed = frame(gzip.compress(said("How long?").SerializeToString()), 1)
    assert called(await post(front.http, "Say", packed, grpc_encoding="gzip")).trailers["grpc-status"] == "0"
    bomb = frame(gzip.compress(said("x" * 20_000_000).SerializeToString()), 1)
    assert called(await post(front.http, "Say", bomb, grpc_encoding="gzip")).refusal[0] == "8"
    assert called(await post(front.http, "Say", packed, grpc_encoding="snappy")).refusal[0] == "12"


async def test_other_addresses_methods_and_types(front: Front) -> None:
    """What is no call of ours is an HTTP answer with a problem; native gRPC is one of them."""
    content = frame(said("How long?").SerializeToString())
    unknown = await post(front.http, "Shout", content)
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (await front.http.get(f"{SERVICE}Say")).status_code == 405
    for kind in ("application/grpc", "application/grpc-web-text", "text/plain", "application/connect+proto"):
        refused = await post(front.http, "Say", content, kind)
        assert refused.status_code == 415
        assert refused.json()["detail"].startswith("Content-Type: must be one of application/json, ")
    assert (await post(front.http, "SayStreamed", b"{}", "application/json")).status_code == 415


async def test_a_body_that_is_too_large(front: Front) -> None:
    large = await call(front.http, "Say", said("x" * 1_100_000))
    assert large.refusal[0] == "8"
    assert (large.problem.status, large.problem.type) == (413, "about:blank")
    long = await call(front.http, "Say", said("x" * 21, tenant="acme"))
    assert (long.refusal[0], long.problem.type) == ("8", "/docs#message-too-long")
    json_too = await post(front.http, "Say", b" " * 1_100_000, "application/json")
    assert (json_too.status_code, json_too.json()["code"]) == (429, "resource_exhausted")


async def test_what_nobody_foresaw_is_not_shown(alone: httpx.AsyncClient, raising: Raising) -> None:
    raising.fault = RuntimeError("secret")
    told = await call(alone, "Transcript", wire.TranscriptRequest(conversation="c-1"))
    assert told.refusal[0] == "13"
    assert "secret" not in str(told)
    raising.fault = RecordsUnavailable("temporal: away.")
    told = await call(alone, "Transcript", wire.TranscriptRequest(conversation="c-1"))
    assert told.refusal == ("14", "temporal: away.")
    assert told.headers["retry-after"] == "2"


async def test_who_asks_and_from_where(front: Front) -> None:
    """The caller that the access check found is asked for, and the client's address is kept."""
    caller = Caller("open", "ana", frozenset({"chat"}), "key", "k")
    async with (
        open_streams(front.settings, front.conversations.trace_url) as streams,
        http(create_app(front.conversations, front.settings, streams, access=Known(front.settings, caller))) as client,
    ):
        foreign = await call(client, "Say", said("How long?", tenant="default"))
        assert foreign.problem.type == "/docs#unknown-tenant"
        assert (await call(client, "Say", said("How long?"))).trailers["grpc-status"] == "0"
    kept = front.steps.called("return_answer")[0]
    assert (kept.turn.tenant, kept.user, kept.address) == ("open", "ana", "192.0.2.7")


class Known(Access):
    """Every request is this caller's."""

    def __init__(self, settings: Settings, caller: Caller) -> None:
        super().__init__(settings)
        self._known = caller

    async def caller(self, headers: Headers) -> Caller:
        del headers
        return self._known


async def test_a_gateway_that_stops_says_how_to_come_back(front: Front) -> None:
    """Behind what was sent already, as the call's status."""
    stopping = asyncio.Event()
    async with (
        open_streams(front.settings, front.conversations.trace_url) as streams,
        http(create_app(front.conversations, front.settings, streams, stopping=stopping)) as client,
    ):
        request = said("A slow one.", tenant="open", message_id="m-1", conversation=front.new())
        following = asyncio.create_task(call(client, "SayStreamed", request))
        await front.steps.running.wait()
        stopping.set()
        told = await following
    assert told.refusal[0] == "14"
    assert "message_id m-1" in told.problem.detail
    front.steps.release.set()
    assert (await call(front.http, "SayStreamed", request)).messages[: len(told.messages)] == told.messages


# time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Say", "SayStreamed"])
async def test_a_deadline_ends_the_call_and_not_the_turn(front: Front, method: str) -> None:
    """The answer's headers say where the turn is taken up again; a client that cancels by leaving did not leave."""
    conversation = front.new()
    request = said("A slow one.", tenant="open", conversation=conversation, on_disconnect="cancel")
    over = await call(front.http, method, request, grpc_timeout="1S")
    assert over.trailers["grpc-status"] == "4"
    message_id = over.headers["x-parley-message-id"]
    front.steps.release.set()
    request.message_id = message_id
    answered = await call(front.http, "Say", request)
    reply = wire.SayResponse.FromString(answered.messages[0]).reply
    assert (reply.message_id, reply.verdict) == (message_id, "pass")


async def test_a_wait_that_is_over_is_a_pending_answer(front: Front) -> None:
    settings = front.settings.model_copy(
        update={"gateway": front.settings.gateway.model_copy(update={"wait_seconds": 0.3})}
    )
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        http(create_app(front.conversations, settings, streams)) as client,
    ):
        answered = await call(client, "Say", said("A slow one.", conversation=front.new(), message_id="m-1"))
    pending = wire.SayResponse.FromString(answered.messages[0]).pending
    assert pending.message_id == "m-1"
    assert pending.trace_url.endswith(pending.run_id)


# Connect ------------------------------------------------------------------------------------------


async def test_connect_speaks_json_and_protobuf(front: Front) -> None:
    body = {"messages": [{"role": "user", "content": "How long?"}], "seed": "7"}
    response = await post(front.http, "Say", json.dumps(body).encode(), "application/json; charset=utf-8")
    assert response.status_code == 200
    reply = response.json()["reply"]
    assert (reply["answer"], reply["messageId"]) == (f"{SAID} (0)", response.headers["x-parley-message-id"])
    response = await post(front.http, "Say", said("How long?").SerializeToString(), "application/proto")
    assert wire.SayResponse.FromString(response.content).reply.answer == f"{SAID} (0)"


async def test_connect_streams_json(front: Front) -> None:
    """Events, and then a frame with the end."""
    body = json.dumps({"messages": [{"role": "user", "content": "How long?"}], "tenant": "open"}).encode()
    response = await post(front.http, "SayStreamed", frame(body), "application/connect+json")
    frames = frames_of(response.content)
    assert frames[-1] == (2, b"{}")
    events = [json.loads(message) for _, message in frames[:-1]]
    assert "".join(event["token"]["text"] for event in events if "token" in event) == SAID
    assert events[-1]["final"]["answer"] == f"{SAID} (0)"


async def test_connect_refuses_with_a_code(front: Front) -> None:
    """Each code with its HTTP status; a misspelt field is refused by name."""
    response = await post(front.http, "Say", b'{"messages": []}', "application/json")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_argument")
    detail = response.json()["details"][0]
    problem = wire.Problem.FromString(base64.b64decode(detail["value"] + "=="))
    assert (detail["type"], problem.field) == ("parley.v1.Problem", "messages")
    misspelt = await post(front.http, "Say", b'{"mesages": []}', "application/json")
    assert misspelt.json()["code"] == "invalid_argument"
    assert "mesages" in misspelt.json()["message"]
    for content in (b"[1]", b"{", b'{"messages": [{"content": "\\ud800"}]}', b"\xff", b"[" * 100_000, b""):
        refused = await post(front.http, "Say", content, "application/json")
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_argument"), content[:20]
    late = await post(front.http, "Say", b"{}", "application/json", connect_timeout_ms="soon")
    assert late.json()["code"] == "invalid_argument"
