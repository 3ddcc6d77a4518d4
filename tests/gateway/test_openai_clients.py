"""OpenAI's own clients, for Python and for Node.js, against a gateway that is a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk
from temporalio.testing import WorkflowEnvironment

from settings.schema import GatewaySettings
from tests.gateway.test_headers import SHOP, answer
from tests.support.cut_connections import CutConnections, cut_connections
from tests.support.gateway_process import Served, gateway_process
from tests.support.node import node, npm_cache, npm_install
from tests.support.scripted_steps import SAID, ScriptedSteps

NPM_CLIENT = {"openai": "7.57.0"}
ANSWER = f"{SAID} (0)"


@pytest.fixture(scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory, temporal: WorkflowEnvironment, repository: Path
) -> AsyncIterator[Served]:
    """A gateway's URL and the script of its worker."""
    folder = tmp_path_factory.mktemp("openai")
    async with gateway_process(folder, temporal, repository, "{port: 0, come_back_seconds: 0}") as served:
        yield served


@pytest.fixture
def steps(served: Served) -> ScriptedSteps:
    """With nothing in them that a test before left."""
    steps = served[1]
    steps.calls.clear()
    steps.running.clear()
    steps.release.clear()
    return steps


@pytest.fixture
async def client(served: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{served[0]}/v1", api_key="none", timeout=60) as client:
        yield client


def asked(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": content}], **more}


def put_together(chunks: list[ChatCompletionChunk]) -> tuple[str, str | None]:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


# Python ----------------------------------------------------------------------------------------------


async def test_a_whole_answer(client: AsyncOpenAI, steps: ScriptedSteps) -> None:
    told = await client.chat.completions.create(**asked("How long?"))
    assert (told.choices[0].message.content, told.choices[0].finish_reason) == (ANSWER, "stop")
    assert told.usage is not None
    assert told.usage.total_tokens == 28
    assert told.model_extra is not None
    assert told.model_extra["parley"]["verdict"] == "pass"
    history = [*asked("How long?")["messages"], told.choices[0].message, {"role": "user", "content": "Sure?"}]
    assert (await client.chat.completions.create(model="default", messages=history)).choices[0].message.content


async def test_a_streamed_answer(client: AsyncOpenAI, steps: ScriptedSteps) -> None:
    """It is seen growing: the first word is there while the worker holds back the rest."""
    body = asked("A slow one.", metadata={"tenant": "open"}, stream_options={"include_usage": True})
    stream = await client.chat.completions.create(**body, stream=True)
    chunks: list[ChatCompletionChunk] = []
    async for chunk in stream:
        chunks.append(chunk)
        if put_together(chunks)[0]:
            assert steps.release.is_set() or put_together(chunks)[0] == "You "
            steps.release.set()
        if chunk.choices and chunk.choices[0].finish_reason:
            assert chunk.model_extra is not None
            assert chunk.model_extra["parley"]["answer"] == ANSWER
    assert put_together(chunks) == (ANSWER, "stop")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 28


async def test_a_withdrawn_answer(client: AsyncOpenAI, steps: ScriptedSteps) -> None:
    stream = await client.chat.completions.create(**asked("block this", metadata={"tenant": "open"}), stream=True)
    assert put_together([chunk async for chunk in stream]) == (SAID, "content_filter")


async def test_the_synchronous_client(served: Served, steps: ScriptedSteps) -> None:
    """Whole and streamed."""

    def ask() -> tuple[Any, ...]:
        with OpenAI(base_url=f"{served[0]}/v1", api_key="none", timeout=60) as client:
            whole = client.chat.completions.create(**asked("How long?"))
            chunks = list(
                client.chat.completions.create(**asked("How long?", metadata={"tenant": "open"}), stream=True)
            )
            return whole.choices[0].message.content, put_together(chunks), [model.id for model in client.models.list()]

    whole, streamed, models = await asyncio.to_thread(ask)
    assert (whole, streamed) == (ANSWER, (ANSWER, "stop"))
    assert models[0] == "default"


async def test_the_stream_helper(client: AsyncOpenAI, steps: ScriptedSteps) -> None:
    """The client's own putting together gives the whole."""
    async with client.chat.completions.stream(**asked("How long?", metadata={"tenant": "open"})) as stream:
        told = await stream.get_final_completion()
    assert (told.choices[0].message.content, told.choices[0].finish_reason) == (ANSWER, "stop")


ERRORS: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None, str]] = [
    (asked("How long?", n=2), openai.BadRequestError, "n", "invalid_request"),
    (asked("How long?", tools=[{"type": "function", "function": {"name": "f"}}]), openai.BadRequestError, "tools", ""),
    (asked("How long?", extra_body={"top_k": 4}), openai.BadRequestError, "top_k", "invalid_request"),
    ({**asked("How long?"), "model": "gpt-9"}, openai.NotFoundError, "model", "model_not_found"),
    (asked("x" * 8001), openai.APIStatusError, "messages.0.content", "context_length_exceeded"),
    (asked("Other", metadata={"message_id": "used"}), openai.ConflictError, "message_id", "message_id_reused"),
]


@pytest.mark.parametrize(("body", "kind", "param", "code"), ERRORS, ids=[str(error[2]) for error in ERRORS])
async def test_errors_are_the_clients_own(
    client: AsyncOpenAI,
    steps: ScriptedSteps,
    body: dict[str, Any],
    kind: type[openai.APIStatusError],
    param: str,
    code: str,
) -> None:
    """With what is wrong where its users look for it. None of these is sent again."""
    if kind is openai.ConflictError:
        await client.chat.completions.create(**asked("First", metadata={"message_id": "used"}))
    steps.calls.clear()
    with pytest.raises(kind) as raised:
        await client.chat.completions.create(**body)
    error = raised.value
    assert error.param == param
    assert param in error.message
    assert code in (error.code or "")
    assert error.request_id
    assert error.response.request.headers["x-stainless-retry-count"] == "0"
    assert steps.called("generate_answer") == []


async def test_a_busy_conversation_is_a_rate_limit(client: AsyncOpenAI, steps: ScriptedSteps) -> None:
    """The client would wait and try again by itself; here it is told not to."""
    metadata = {"conversation": "busy-1"}
    slow = asyncio.create_task(client.chat.completions.create(**asked("A slow one.", metadata=metadata)))
    await steps.running.wait()
    with pytest.raises(openai.RateLimitError) as raised:
        await client.with_options(max_retries=0).chat.completions.create(
            **asked("How long?", metadata={**metadata, "on_busy": "reject"})
        )
    assert (raised.value.code, int(raised.value.response.headers["retry-after"]) > 0) == ("conversation_busy", True)
    steps.release.set()
    assert (await slow).choices[0].message.content == ANSWER


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_turn(client: AsyncOpenAI, steps: ScriptedSteps, stream: bool) -> None:
    """Where it was asked for. The next message's turn comes behind it, and the first was never released."""
    metadata = {"tenant": "open", "conversation": f"left-{stream}", "on_disconnect": "cancel"}
    asking = asyncio.ensure_future(
        client.chat.completions.create(**asked("A slow one.", metadata=metadata), stream=stream)  # type: ignore[call-overload]
    )
    await steps.running.wait()
    if stream:
        await (await asking).close()
    else:
        asking.cancel()
    next_one = await client.chat.completions.create(**asked("How long?", metadata=metadata))
    assert next_one.choices[0].message.content == ANSWER
    assert steps.rows[metadata["conversation"], 1].verdict == "cancelled"


async def _cut_once(way: CutConnections, steps: ScriptedSteps, asking: Awaitable[str]) -> str:
    """What ``asking`` gives when its connection breaks while the answer is made, and it is sent again."""
    told = asyncio.ensure_future(asking)
    await steps.running.wait()
    way.cut.set()
    again = asyncio.ensure_future(way.again.wait())
    await asyncio.wait({told, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    steps.release.set()
    return await told


async def test_the_clients_own_retry_is_answered_once(served: Served, steps: ScriptedSteps) -> None:
    """It sends again what broke off, with the same headers: under an Idempotency-Key that is the same message."""
    async with cut_connections(served[0]) as way, AsyncOpenAI(base_url=f"{way.url}/v1", api_key="none") as client:

        async def asking() -> str:
            told = await client.chat.completions.create(
                **asked("A slow one."), extra_headers={"Idempotency-Key": "cut-whole"}
            )
            return told.choices[0].message.content or ""

        assert await _cut_once(way, steps, asking()) == ANSWER
    assert [way.headers(n)["idempotency-key"] for n in (0, 1)] == ["cut-whole", "cut-whole"]
    assert [way.headers(n)["x-stainless-retry-count"] for n in (0, 1)] == ["0", "1"]
    assert len(steps.called("generate_answer")) == 1


async def test_a_stream_that_broke_off_is_answered_once(served: Served, steps: ScriptedSteps) -> None:
    """The client raises in the middle of a stream; asked again under the same key it gets the same answer, whole."""
    async with cut_connections(served[0]) as way, AsyncOpenAI(base_url=f"{way.url}/v1", api_key="none") as client:

        async def ask() -> str:
            body = asked("A slow one.", metadata={"tenant": "open"})
            stream = await client.chat.completions.create(
                **body, stream=True, extra_headers={"Idempotency-Key": "cut-stream"}
            )
            return put_together([chunk async for chunk in stream])[0]

        async def asking() -> str:
            with pytest.raises(openai.APIConnectionError):
                await ask()
            return await ask()

        assert await _cut_once(way, steps, asking()) == ANSWER
    assert len(steps.called("generate_answer")) == 1


# Node.js ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages() -> Path:
    return npm_install(NPM_CLIENT, npm_cache() / "openai")


async def in_node(url: str, packages: Path, case: str) -> Any:
    """What a case of ``openai_client.cjs`` tells."""
    script = Path(__file__).with_name("openai_client.cjs")
    process = await asyncio.create_subprocess_exec(
        node(), script, url, packages, case, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, error.decode()
    return json.loads(out)


NODE_ANSWERS: dict[str, dict[str, Any]] = {
    "whole": {"content": ANSWER, "tokens": 28, "verdict": "pass"},
    "streamed": {"content": ANSWER, "tokens": 28, "finish_reason": "stop", "answer": ANSWER},
    "withdrawn": {"content": SAID, "finish_reason": "content_filter", "answer": "(block)"},
    "models": {"one": "default"},
    "refused": {"name": "BadRequestError", "status": 400, "param": "n", "type": "invalid_request_error"},
    "unknown": {"name": "NotFoundError", "status": 404, "param": "model", "code": "model_not_found"},
    "reused": {"name": "ConflictError", "status": 409, "param": "message_id", "code": "message_id_reused"},
}


@pytest.mark.parametrize("case", NODE_ANSWERS)
async def test_the_client_for_node(
    served: Served, steps: ScriptedSteps, client: AsyncOpenAI, packages: Path, case: str
) -> None:
    """Whole, streamed, withdrawn, models, and its own exceptions with what is wrong."""
    if case == "reused":
        await client.chat.completions.create(**asked("First", metadata={"message_id": "reused"}))
    told = await in_node(served[0], packages, case)
    assert told.items() >= NODE_ANSWERS[case].items(), told
    if case == "streamed":
        assert told["deltas"] > len(SAID.split()) - 1
    if "status" in told:
        assert told["request"].startswith("req-")


async def test_a_page_may_send_what_the_client_for_javascript_sends(packages: Path) -> None:
    """Every header that it sets is answered for in the preflight."""
    sent = await in_node("http://nowhere", packages, "headers")
    assert {"authorization", "x-stainless-helper-method", "x-stainless-timeout", "openai-project"} <= set(sent)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(sent)}
    told = await answer(GatewaySettings(cors=(SHOP,)), "OPTIONS", Origin=SHOP, **asked)
    assert (told.status_code, told.text) == (200, "OK")


async def test_the_retry_of_the_client_for_node(served: Served, steps: ScriptedSteps, packages: Path) -> None:
    """Answered once too."""
    async with cut_connections(served[0]) as way:

        async def asking() -> str:
            return (await in_node(way.url, packages, "repeated"))["content"]

        assert await _cut_once(way, steps, asking()) == ANSWER
    assert [way.headers(n)["x-stainless-retry-count"] for n in (0, 1)] == ["0", "1"]
    assert len(steps.called("generate_answer")) == 1
