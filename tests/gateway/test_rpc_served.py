"""gRPC-Web and Connect through the gateway's own server: streams grow, readers leave, a browser's generated client."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page
from temporalio.testing import WorkflowEnvironment

from gateway.proto.parley.v1 import dialogue_pb2 as wire
from tests.gateway.test_rpc import SERVICE, WEB, Called, call, frame, said
from tests.support.browser import chromium
from tests.support.gateway_process import Served, gateway_process
from tests.support.node import node, npm_cache, npm_install
from tests.support.scripted_steps import SAID, ScriptedSteps

PACKAGES = {
    "@connectrpc/connect": "2.2.0",
    "@connectrpc/connect-web": "2.2.0",
    "@bufbuild/protobuf": "2.17.0",
    "@bufbuild/protoc-gen-es": "2.17.0",
    "esbuild": "0.28.2",
}
DRIVER = "rpc_browser.ts"


@pytest.fixture(scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory, temporal: WorkflowEnvironment, repository: Path
) -> AsyncIterator[Served]:
    """A gateway's URL and the script of its worker."""
    folder = tmp_path_factory.mktemp("rpc")
    async with gateway_process(
        folder, temporal, repository, "{port: 0, heartbeat_seconds: 0.2, come_back_seconds: 0.1}"
    ) as served:
        yield served


@pytest.fixture
def steps(served: Served) -> ScriptedSteps:
    """With nothing in them that a test before left."""
    steps = served[1]
    steps.running.clear()
    steps.release.clear()
    return steps


@pytest.fixture
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served[0], timeout=60) as client:
        yield client


async def frames(response: httpx.Response) -> AsyncIterator[tuple[int, bytes]]:
    """Each as soon as it is there."""
    left = b""
    async for chunk in response.aiter_raw():
        left += chunk
        while len(left) >= 5 and len(left) >= 5 + (length := int.from_bytes(left[1:5], "big")):
            yield left[0], left[5 : 5 + length]
            left = left[5 + length :]
    assert not left


def streamed(client: httpx.AsyncClient, request: wire.SayRequest) -> Any:
    content = frame(request.SerializeToString())
    return client.stream("POST", f"{SERVICE}SayStreamed", content=content, headers={"Content-Type": WEB})


def reply_of(answered: Called) -> wire.Reply:
    return wire.SayResponse.FromString(answered.messages[0]).reply


async def test_a_stream_comes_as_it_is_made(client: httpx.AsyncClient, steps: ScriptedSteps) -> None:
    """The first word is there before the second is made; while nothing happens an empty event says that it lives."""
    texts: list[str] = []
    quiet = 0
    async with streamed(client, said("A slow one.", tenant="open")) as response:
        async for flags, message in frames(response):
            if flags:
                assert message == b"grpc-status: 0\r\n"
                break
            event = wire.Event.FromString(message)
            kind = event.WhichOneof("kind")
            if kind == "token":
                texts.append(event.token.text)
            elif kind is None:
                assert event.id == 0
                quiet += 1
                if texts == ["You "]:
                    steps.release.set()
    assert quiet
    assert "".join(texts) == SAID


@pytest.mark.parametrize(("on_disconnect", "verdict"), [("cancel", "cancelled"), ("continue", "pass")])
async def test_a_reader_who_leaves(
    client: httpx.AsyncClient, steps: ScriptedSteps, on_disconnect: str, verdict: str
) -> None:
    """The turn ends or goes on, as the message said; whoever says it again gets what became of it."""
    request = said(
        "A slow one.", tenant="open", message_id="m-1", on_disconnect=on_disconnect, conversation=f"left-{verdict}"
    )
    async with streamed(client, request) as response:
        async for _, message in frames(response):
            if wire.Event.FromString(message).WhichOneof("kind") == "token":
                break
    if verdict == "pass":
        steps.release.set()
    else:
        await _ended(steps, f"left-{verdict}")
    assert reply_of(await call(client, "Say", request)).verdict == verdict


async def test_a_caller_who_leaves(served: Served, client: httpx.AsyncClient, steps: ScriptedSteps) -> None:
    """Also where the whole answer was asked for."""
    request = said("A slow one.", message_id="m-1", on_disconnect="cancel", conversation="left-whole")
    async with httpx.AsyncClient(base_url=served[0]) as leaving:
        asking = asyncio.create_task(call(leaving, "Say", request))
        await steps.running.wait()
        asking.cancel()
        await asyncio.wait({asking})
    await _ended(steps, "left-whole")
    assert reply_of(await call(client, "Say", request)).verdict == "cancelled"


async def _ended(steps: ScriptedSteps, conversation: str) -> None:
    """Until the turn's row is kept: who says it again before that has come back, and ends nothing."""
    async with asyncio.timeout(30):
        while (conversation, 1) not in steps.rows:  # noqa: ASYNC110 a plain dictionary of the scripted steps
            await asyncio.sleep(0.02)


# a browser ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The client of docs/grpc-web.md, with what is generated from the ``.proto``, as one script."""
    modules = npm_install(PACKAGES, npm_cache() / "connect-web")
    folder = tmp_path_factory.mktemp("bundle")
    page = (repository / "docs/grpc-web.md").read_text("utf-8")
    documented = re.search(r"```ts\n(.*?)```", page, re.DOTALL)
    assert documented is not None
    (folder / "documented.ts").write_text(documented[1], "utf-8")
    (folder / "gen").mkdir()
    shutil.copy(repository / "tests/gateway" / DRIVER, folder)
    path = f"{node().parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NODE_PATH": str(modules)}
    generate = [sys.executable, "-m", "grpc_tools.protoc", f"-I{repository / 'gateway/proto'}"]
    generate += [f"--plugin={modules / '.bin/protoc-gen-es'}", f"--es_out={folder / 'gen'}", "--es_opt=target=ts"]
    for command in (
        [*generate, "parley/v1/dialogue.proto"],
        [str(modules / ".bin/esbuild"), DRIVER, "--bundle", "--format=iife", "--outfile=bundle.js"],
    ):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
    return (folder / "bundle.js").read_text("utf-8")


@pytest.fixture
async def page(served: Served, bundle: str) -> AsyncIterator[Page]:
    """A page of the gateway's own origin that holds the client."""
    async with chromium() as browser:
        page = await browser.new_page()
        html = f"<!doctype html><title>rpc</title><script>{bundle}</script>"
        await page.route("**/rpc-test", lambda route: route.fulfill(content_type="text/html; charset=utf-8", body=html))
        await page.goto(f"{served[0]}/rpc-test")
        yield page


async def evaluate(page: Page, expression: str, *values: Any) -> Any:
    """``expression`` of JavaScript, in which ``values`` is what is given."""
    return await page.evaluate(f"(values) => {expression}", list(values))


@pytest.mark.parametrize("transport", ["grpc-web", "connect"])
async def test_a_browser(page: Page, steps: ScriptedSteps, transport: str) -> None:
    """It says, sees the answer grow, leaves and resumes, cancels, judges; each refusal has its code and its field."""
    conversation, other = f"browser-{transport}", f"other-{transport}"
    question = {"messages": [{"role": "user", "content": "A slow one."}], "tenant": "open"}
    await evaluate(page, "{ window.client = rpc(values[0]) }", transport)
    await evaluate(page, "{ client.follow(values[0]) }", {**question, "conversation": conversation})
    await page.wait_for_function("client.shown.text === 'You '")
    await evaluate(page, "client.leave()")
    await evaluate(page, "{ window.resumed = client.resume('open') }")
    steps.release.set()
    assert await evaluate(page, "resumed") == {"value": None}
    shown = await evaluate(page, "client.shown")
    assert shown == {**shown, "conversation": conversation, "turn": 1, "text": f"{SAID} (0)", "done": True}
    texts = await evaluate(page, "client.texts")
    assert [text for text in dict.fromkeys(texts) if text] == [
        *("You ", "You have ", "You have 30 ", "You have 30 days ", SAID),
        f"{SAID} (0)",
    ]
    assert await evaluate(page, "client.feedback(values[0], 'open')", conversation) == {"value": 1}

    steps.running.clear()
    steps.release.clear()
    await evaluate(page, "{ client.say(values[0]) }", {**question, "conversation": other})
    await steps.running.wait()
    assert await evaluate(page, "client.cancel(values[0], 'open')", other) == {"value": 1}
    assert await evaluate(page, "client.turns(values[0], 'open')", other) == {"value": ["cancelled"]}

    refused = await evaluate(page, "client.say(values[0])", {**question, "onBusy": "wait"})
    assert (refused["code"], refused["field"]) == ("InvalidArgument", "on_busy")
    assert (await evaluate(page, "client.turns('conv-never', 'open')"))["code"] == "NotFound"
    late = await evaluate(page, "client.say(values[0], 300)", {**question, "conversation": f"late-{transport}"})
    assert late["code"] == "DeadlineExceeded"
    steps.release.set()
