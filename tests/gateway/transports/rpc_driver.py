"""gRPC-Web and Connect, in raw frames: one in protobuf's binary form, the other in its JSON."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote

import httpx
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseDict
from google.protobuf.message import Message

from dialogue.messages import TextFile
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from tests.gateway.test_rpc import SERVICE, WEB, frame, problem_in
from tests.gateway.transports.driver import TRANSCRIPTS, Got, Refused

__all__ = ["ConnectDriver", "GrpcWebDriver"]

Answer = TypeVar("Answer", bound=Message)


class _RpcDriver:
    """What both have in common: the calls and their messages."""

    can = TRANSCRIPTS
    streamed_type: ClassVar[str]

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}{SERVICE}"

    async def whole(self, content: str, **fields: Any) -> dict[str, Any]:
        return _data((await self._asked("Say", _say(content, **fields), wire.SayResponse())).reply)

    async def streamed(self, content: str, **fields: Any) -> AsyncGenerator[Got, None]:
        async for got in self._events("SayStreamed", _say(content, **fields)):
            yield got

    async def resumed(self, conversation: str, *, after: int = 0, **place: Any) -> AsyncGenerator[Got, None]:
        async for got in self._events("Resume", wire.ResumeRequest(conversation=conversation, after=after, **place)):
            yield got

    async def cancel(self, conversation: str, **place: Any) -> int:
        request = wire.CancelRequest(conversation=conversation, **place)
        return (await self._asked("Cancel", request, wire.CancelResponse())).turn

    async def feedback(self, conversation: str, turn: int, score: int, **more: Any) -> None:
        request = wire.FeedbackRequest(conversation=conversation, turn=turn, score=score, **more)
        await self._asked("Feedback", request, wire.FeedbackResponse())

    async def transcript(self, conversation: str, **place: Any) -> dict[str, Any]:
        request = wire.TranscriptRequest(conversation=conversation, **place)
        return _data(await self._asked("Transcript", request, wire.TranscriptResponse()))

    async def _events(self, method: str, request: Message) -> AsyncGenerator[Got, None]:
        async for raw in self._messages(method, request):
            event = self._read(raw, wire.Event())
            kind = event.WhichOneof("kind")
            if kind is not None:
                yield Got(event.id, kind, _data(getattr(event, kind)), raw)

    async def _messages(self, method: str, request: Message) -> AsyncGenerator[bytes, None]:
        """Those of a stream, as they come. The last frame is no message: it says how the call ended."""
        headers = {"Content-Type": self.streamed_type}
        sent = {"content": frame(self._written(request)), "headers": headers}
        async with _client() as client, client.stream("POST", f"{self._url}{method}", **sent) as response:
            assert response.status_code == 200
            buffer = b""
            async for chunk in response.aiter_bytes():
                buffer += chunk
                while len(buffer) >= 5 and len(buffer) >= 5 + (length := struct.unpack(">I", buffer[1:5])[0]):
                    flags, message, buffer = buffer[0], buffer[5 : 5 + length], buffer[5 + length :]
                    if flags:
                        self._raise_refused(message)
                        return
                    yield message
        raise AssertionError("the stream ended without its last frame")

    async def _asked(self, method: str, request: Message, answer: Answer) -> Answer:
        raise NotImplementedError

    def _written(self, message: Message) -> bytes:
        raise NotImplementedError

    def _read(self, raw: bytes, message: Answer) -> Answer:
        raise NotImplementedError

    def _raise_refused(self, last: bytes) -> None:
        raise NotImplementedError


class GrpcWebDriver(_RpcDriver):
    """A call with one answer is a stream of one message."""

    streamed_type = WEB

    async def _asked(self, method: str, request: Message, answer: Answer) -> Answer:
        [raw] = [each async for each in self._messages(method, request)]
        return self._read(raw, answer)

    def _written(self, message: Message) -> bytes:
        return message.SerializeToString()

    def _read(self, raw: bytes, message: Answer) -> Answer:
        message.ParseFromString(raw)
        return message

    def _raise_refused(self, last: bytes) -> None:
        trailers = dict(line.split(": ", 1) for line in last.decode().strip().split("\r\n"))
        if trailers["grpc-status"] != "0":
            raise Refused(problem_in(trailers["grpc-status-details-bin"]).status, unquote(trailers["grpc-message"]))


class ConnectDriver(_RpcDriver):
    """A call with one answer is plain HTTP."""

    streamed_type = "application/connect+json"

    async def _asked(self, method: str, request: Message, answer: Answer) -> Answer:
        headers = {"Content-Type": "application/json"}
        async with _client() as client:
            response = await client.post(f"{self._url}{method}", content=self._written(request), headers=headers)
        if not response.is_success:
            raise _refused(response.json())
        return self._read(response.content, answer)

    def _written(self, message: Message) -> bytes:
        return MessageToJson(message, indent=None).encode()

    def _read(self, raw: bytes, message: Answer) -> Answer:
        return Parse(raw, message)

    def _raise_refused(self, last: bytes) -> None:
        error = json.loads(last).get("error")
        if error:
            raise _refused(error)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=30)


def _say(content: str, *, files: Sequence[TextFile] = (), **fields: Any) -> wire.SayRequest:
    message = {"role": "user", "content": content, "files": [file.model_dump() for file in files]}
    return ParseDict({"messages": [message], **fields}, wire.SayRequest())


def _data(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _refused(error: dict[str, Any]) -> Refused:
    [detail] = error["details"]
    problem = wire.Problem.FromString(base64.b64decode(detail["value"] + "=="))
    return Refused(problem.status, error["message"])
