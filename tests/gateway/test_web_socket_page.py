"""The browser client of docs/web-socket.md, taken from the page as it stands, in front of a gateway."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import create_app
from gateway.turn_streams import open_streams
from tests.docs.pages import ROOT, blocks
from tests.gateway.conftest import Front
from tests.support.browser import chromium
from tests.support.scripted_steps import SAID
from tests.support.served import served

pytestmark = pytest.mark.xdist_group("chat-page")

PATH = "/eight-lines"
PATIENT = 30_000  # milliseconds: two busy cores
PAGES = [ROOT / "docs" / "web-socket.md", ROOT / "docs" / "zh-CN" / "web-socket.md"]


def _client() -> str:
    """The same in both languages."""
    [english, chinese] = [[block.text for block in blocks(page) if block.language == "html"] for page in PAGES]
    assert english == chinese
    [client] = english
    return client


def _beside(client: str, gateway: ASGIApp) -> ASGIApp:
    """``gateway``, and at ``PATH`` the client: of the same origin, but without the gateway's headers."""

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await gateway(scope, receive, send)
            return
        host = Request(scope).headers["host"]
        await HTMLResponse(client.replace("127.0.0.1:8088", host))(scope, receive, send)

    return site


async def test_the_eight_lines_of_the_page_hold_a_conversation(front: Front) -> None:
    """The answer is seen growing, and the next question is asked in the same conversation. Heartbeats show nothing."""
    client = _client()
    assert len(client.splitlines()) == 8
    default = front.settings.tenants["default"].model_copy(update={"stream": "open"})
    changed = {
        "tenants": {**front.settings.tenants, "default": default},
        "gateway": front.settings.gateway.model_copy(update={"heartbeat_seconds": 0.2}),
    }
    settings = front.settings.model_copy(update=changed)
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        served(_beside(client, create_app(front.conversations, settings, streams))) as port,
        chromium() as browser,
    ):
        page = await browser.new_page()
        page.set_default_timeout(PATIENT)
        async with page.expect_websocket() as opened:
            await page.goto(f"http://127.0.0.1:{port}{PATH}")
        await (await opened.value).wait_for_event("framereceived")  # a heartbeat: it is open
        answer = page.locator("#answer")
        await page.locator("#question").fill("slow sayword one two three")
        await page.keyboard.press("Enter")
        await expect(answer).to_have_text("one", timeout=PATIENT)
        front.steps.release.set()
        await expect(answer).to_have_text("one two three", timeout=PATIENT)
        await page.locator("#question").fill("How long?")
        await page.keyboard.press("Enter")
        await expect(answer).to_have_text(SAID, timeout=PATIENT)
        await page.close()
    assert sorted(turn for _, turn in front.steps.rows) == [1, 2]
    assert len({conversation for conversation, _ in front.steps.rows}) == 1
