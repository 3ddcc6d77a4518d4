"""The chat page in front of the real gateway and a scripted worker on a real Temporal server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import FilePayload, Page, expect

from dialogue.messages import TextFile
from gateway.app import create_app
from gateway.turn_streams import open_streams
from tests.gateway.conftest import Front
from tests.support.browser import chromium
from tests.support.scripted_steps import SAID
from tests.support.served import served

pytestmark = pytest.mark.xdist_group("chat-page")

PATIENT = 30_000  # milliseconds: two busy cores
TERMS = TextFile(name="terms.txt", text="鞋子：30 天")


@pytest.fixture
async def page(front: Front) -> AsyncIterator[Page]:
    """Of the tenant whose answers are shown as they flow."""
    async with open_streams(front.settings, front.conversations.trace_url) as streams, chromium() as browser:
        gateway = create_app(front.conversations, front.settings, streams)
        async with served(gateway) as port:
            page = await browser.new_page(locale="en-GB")
            page.set_default_timeout(PATIENT)
            await page.goto(f"http://127.0.0.1:{port}/?tenant=open")
            yield page
            await page.close()


async def _ask(page: Page, question: str) -> None:
    await page.locator("#text").fill(question)
    await page.keyboard.press("Enter")


async def test_a_question_is_answered_and_stands_after_a_reload(front: Front, page: Page) -> None:
    """The steps fill their marks, the answer stands as the workflow gave it, and again after a reload. What was
    attached came along."""
    attached: FilePayload = {"name": TERMS.name, "mimeType": "", "buffer": TERMS.text.encode()}
    await page.locator("#files").set_input_files([attached])
    await expect(page.locator("#attached li")).to_have_count(1)
    await _ask(page, "How long?")
    answer = page.locator(".answer")
    await expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=PATIENT)
    assert await answer.text_content() == f"{SAID} (0)"
    await expect(page.locator(".marks .done")).to_have_count(3)  # those that the scripted worker tells of
    await page.reload()
    await expect(answer).to_have_text(f"{SAID} (0)", timeout=PATIENT)
    await _ask(page, "And socks?")
    await expect(answer.nth(1)).to_have_text(f"{SAID} (0)", timeout=PATIENT)
    assert [each.files for each in front.steps.called("receive_input")] == [(TERMS,), ()]
    assert len({conversation for conversation, _ in front.steps.rows}) == 1


async def test_a_reload_in_the_middle_and_stop(front: Front, page: Page) -> None:
    """The turn goes on while the page is away; then Stop ends it in the workflow."""
    await _ask(page, "slow please")
    await front.steps.running.wait()
    await page.reload()
    await expect(page.locator(".question")).to_contain_text("slow please")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".notice")).to_have_text("Stopped. Ask again whenever you like.", timeout=PATIENT)
    assert [row.verdict for row in front.steps.rows.values()] == ["cancelled"]
