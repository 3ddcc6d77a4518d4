"""What an operator sees of a conversation in the Temporal Web UI, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import chromium, screenshot
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

PATIENT = 60_000  # milliseconds: two busy cores


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a headless Chromium from PATH."""
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": 1400, "height": 1150})
        page.set_default_timeout(PATIENT)
        yield page


async def test_a_conversation_reads_without_our_tools(site: Site, page: Page) -> None:
    """Each activity's summary names turn, step and try; details list the turns and who has to decide."""
    conversation = site.new()
    await site.say(conversation, "How long do I have to send back shoes I bought online?", "turn-0001")
    await site.say(conversation, "网上买的鞋子几天内可以退货？", "turn-0002")
    await site.say(conversation, "I want to talk to a real person please", "turn-0003")
    await page.goto(site.conversations.trace_url(conversation))
    for summary in (
        "turn 1 · receive_input",
        "turn 1 · generate_answer",
        "turn 2 · quote_passages · try 1 of 4: language unknown",
        "turn 3 · waits for a person",
    ):
        await expect(page.get_by_text(summary).first).to_be_visible(timeout=PATIENT)
    await screenshot(page, "web-ui-timeline")
    await page.get_by_text("User Metadata").first.click()
    summary, details = page.frame_locator("iframe").first, page.frame_locator("iframe").last
    await expect(summary.get_by_text("tenant default · opened by sdk")).to_be_visible(timeout=PATIENT)
    await expect(details.get_by_text("Waiting for a person: turn 3")).to_be_visible(timeout=PATIENT)
    await expect(details.get_by_role("row").nth(2)).to_contain_text("网上买的鞋子")
    await expect(details.get_by_text(f"parley replay show {conversation} --turn 3")).to_be_visible(timeout=PATIENT)
    link = details.get_by_role("link", name="Chat page")
    await expect(link).to_have_attribute("href", f"{site.gateway_url}/?tenant=default&conversation={conversation}")
    await screenshot(page, "web-ui-details")
    await page.get_by_text("Search Attributes").first.click()
    for name in ("Tenant", "Verdict", "Snapshot", "State", "WaitingSince"):
        await expect(page.get_by_text(name).first).to_be_visible(timeout=PATIENT)


async def test_what_a_user_wrote_makes_no_link(site: Site, page: Page) -> None:
    """Addresses and entities stand in the table as they were typed: the one link is the chat page's."""
    conversation = site.new()
    await site.say(conversation, "https://x.example &amp; I want to talk to a real person please", "turn-0001")
    await page.goto(site.conversations.trace_url(conversation))
    await page.get_by_text("User Metadata").first.click()
    details = page.frame_locator("iframe").last
    await expect(details.get_by_role("row").nth(1)).to_contain_text("https://x.example &amp; I want", timeout=PATIENT)
    await expect(details.locator("a")).to_have_text(["Chat page"])
