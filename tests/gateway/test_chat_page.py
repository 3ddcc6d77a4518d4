"""The chat page in a real browser, with every event of the gateway sent by hand (tests/support/page_server.py)."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Browser, BrowserContext, FileChooser, FilePayload, Locator, Page, expect
from starlette.applications import Starlette

from gateway import chat_page
from tests.support.browser import chromium
from tests.support.page_server import KEY, PageServer, PageTurn, page_server

pytestmark = pytest.mark.xdist_group("chat-page")

PATIENT = 30_000  # milliseconds: two busy cores
expect.set_options(timeout=PATIENT)
SILENCE = 20_001  # milliseconds after which the page asks whether anybody is there
QUESTION = "How long do I have to send back shoes I bought online?"
PASSAGE = (
    "Shoes and clothes bought online can be sent back within 30 days from delivery, unworn and in "
    "the original box. The label for sending them back is in the parcel."
)
QUOTE = "Shoes and clothes bought online can be sent back within 30 days from delivery, unworn and in the original box."
START = 298
CITATION: dict[str, Any] = {
    "number": 1,
    "document": "en/returns.md",
    "title": "Returns and refunds",
    "section": "Online orders",
    "start": START + PASSAGE.index(QUOTE),
    "end": START + PASSAGE.index(QUOTE) + len(QUOTE),
    "quote": QUOTE,
    "support": 0.93,
    "passage": {"text": PASSAGE, "start": START},
}
WITHOUT_PASSAGE = {name: value for name, value in CITATION.items() if name != "passage"}
ANSWER = "You have 30 days from delivery, unworn and in the original box. [1]\n\nThe label is in the parcel.\nKeep it."
CHINESE_ANSWER = "自送达之日起 30 天内，未穿过并附原盒即可退回。[1]"
HOSTILE = "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script><a href='javascript:window.hurt=1'>x</a>"
STEPS = (
    "receive_input",
    "recognise_intent",
    "retrieve_knowledge",
    "generate_answer",
    "review_answer",
    "return_answer",
)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with page_server() as server:
        yield server


@pytest.fixture
async def page(browser: Browser, server: PageServer) -> AsyncIterator[Page]:
    """The page, opened in English. Whatever it throws fails the test."""
    async with _opened(browser, server) as page:
        yield page


@asynccontextmanager
async def _opened(browser: Browser, server: PageServer, **options: Any) -> AsyncIterator[Page]:
    shape: dict[str, Any] = {"locale": "en-GB", "viewport": {"width": 800, "height": 560}, **options}
    context = await browser.new_context(**shape)
    context.set_default_timeout(PATIENT)
    thrown: list[str] = []
    page = await context.new_page()
    page.on("pageerror", lambda error: thrown.append(str(error)))
    await page.goto(server.url)
    yield page
    await context.close()
    assert not thrown


async def _ask(page: Page, server: PageServer, question: str = QUESTION) -> PageTurn:
    count = len(server.turns) + 1
    await page.locator("#text").fill(question)
    await page.keyboard.press("Enter")
    return await server.said(count)


async def _answered(page: Page, server: PageServer, answer: str = ANSWER, question: str = QUESTION) -> PageTurn:
    """A turn that went as most do."""
    turn = await _ask(page, server, question)
    for step in STEPS[:4]:
        await turn.send("step", step=step, attempt=1)
    await turn.send("reasoning", text="They ask about shoes from the shop on the web.\n\nThe passage says 30 days.")
    await turn.tokens(*re.findall(r"\S+\s*", answer))
    await turn.send("citation", **CITATION)
    for step in STEPS[4:]:
        await turn.send("step", step=step, attempt=1)
    await turn.final(
        answer, citations=[WITHOUT_PASSAGE], reasoning="They ask about shoes.\n\nThe passage says 30 days."
    )
    await expect(
        page.get_by_role("button", name="Ask again").or_(page.get_by_role("button", name="再问一次"))
    ).to_be_visible()
    return turn


async def _screenshot(page: Page, name: str) -> None:
    """Into the folder that PARLEY_TEST_SCREENSHOTS names: how the pictures in the docs are made."""
    folder = os.environ.get("PARLEY_TEST_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"chat-page-{name}.png", animations="disabled", caret="hide")


async def _text(page: Page) -> str:
    """The answer as it stands, to the byte."""
    return cast("str", await page.locator(".answer").last.text_content())


def _sends(page: Page) -> Any:
    return page.get_by_role("button", name="Send", exact=True)


# an answer -----------------------------------------------------------------------------------------


async def test_the_answer_is_seen_growing(page: Page, server: PageServer) -> None:
    """Marks fill as the steps go, reasoning is folded away and timed, each token shows at once, final stands."""
    turn = await _ask(page, server)
    answer, now, done = page.locator(".answer"), page.locator(".marks .now"), page.locator(".marks .done")
    await turn.send("step", step="receive_input", attempt=1)
    await expect(page.locator(".doing")).to_have_text("reading your message")
    await turn.send("step", step="retrieve_knowledge", attempt=1)
    await expect(page.locator("#said")).to_have_text("looking it up")
    await expect(done).to_have_count(1)
    await turn.send("step", step="generate_answer", attempt=2)
    await expect(page.locator(".doing")).to_have_text("writing the answer, going on after an interruption")
    await expect(now).to_have_attribute("title", "writing the answer")
    await turn.send("reasoning", text="They ask about shoes.")
    await expect(page.locator("summary")).to_have_text("thinking…")
    await expect(page.locator(".reasoning")).to_be_hidden()
    shown = ""
    for token in ("You have ", "30 days", ". [", "1", "]\n", "\n", "Keep the ", "label."):
        shown += token
        await turn.tokens(token)
        await expect(page.locator("article")).to_have_attribute("aria-busy", "true")
        await expect(answer).to_contain_text(token.strip() or "You")
    assert await _text(page) == shown
    await expect(page.locator("summary")).to_have_text(re.compile(r"thought for \d+ s"))
    await _screenshot(page, "growing")
    await turn.final("You have 30 days.", reasoning="They ask about shoes.")
    await expect(answer).to_have_text("You have 30 days.")
    await expect(page.locator(".doing")).to_have_text(re.compile(r"answered in \d+ s"))
    await expect(page.locator("#said")).to_contain_text("The answer is here.  You have 30 days.")
    await page.locator("summary").click()
    await expect(page.locator(".reasoning")).to_be_visible()


async def test_a_reload_in_the_middle_goes_on(page: Page, server: PageServer) -> None:
    """What stood there stands at once, and the rest follows behind it: byte for byte the same text."""
    turn = await _ask(page, server)
    pieces = ["Sixty\u2003", "days…\n", "\n\n", " [1", "] 鞋子", "👟\t", "end "]
    await turn.tokens(*pieces[:3])
    await expect(page.locator(".answer")).to_contain_text("days…")
    await page.reload()
    await expect(page.locator(".question")).to_contain_text(QUESTION)
    resumed = await server.sent("resume")
    assert (resumed["turn"], resumed["conversation"]) == (1, turn.conversation)
    assert 1 <= resumed["after"] <= len(turn.events)
    await turn.tokens(*pieces[3:])
    await expect(page.locator(".answer")).to_contain_text("end")
    assert await _text(page) == "".join(pieces)
    await turn.final("".join(pieces))
    await expect(page.get_by_role("button", name="Copy")).to_be_visible()
    assert await _text(page) == "".join(pieces)
    assert len(server.turns) == 1


async def test_a_lost_stream_costs_the_stream_and_not_the_answer(page: Page, server: PageServer) -> None:
    """Where the log is gone after a reload, the transcript has the answer once it is made."""
    turn = await _ask(page, server)
    await turn.tokens("You have")
    await expect(page.locator(".answer")).to_have_text("You have")
    server.lost_logs = True
    await page.reload()
    await server.sent("resume")
    turn.state, turn.answer = "done", "You have 30 days."
    await expect(page.locator(".answer")).to_have_text("You have 30 days.")


async def test_history_comes_from_the_transcript(page: Page, server: PageServer) -> None:
    """Turns that this tab never saw stand in their place after a reload; a new conversation is empty."""
    first = await _answered(page, server)
    other = PageTurn(
        server, first.conversation, 2, "msg-of-another-tab", "And socks?", state="done", answer="Socks too."
    )
    server.turns.append(other)
    await page.reload()
    await expect(page.locator(".question")).to_have_text([f"You asked: {QUESTION}", "You asked: And socks?"])
    await expect(page.locator(".answer").nth(1)).to_have_text("Socks too.")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("article")).to_have_count(0)
    await expect(page.locator("#greeting")).to_be_visible()
    await page.reload()
    await expect(page.locator("#greeting")).to_be_visible()
    assert (await _ask(page, server)).conversation != first.conversation


async def test_a_link_opens_a_conversation(page: Page, server: PageServer) -> None:
    """As the Web UI has it: in place of the tab's own, once, and what is asked then goes on in it."""
    server.turns.append(
        PageTurn(server, "conv-elsewhere", 1, "msg-of-another", "And socks?", state="done", answer="Socks too.")
    )
    await page.goto(f"{server.url}?conversation=conv-elsewhere")
    await expect(page.locator(".question")).to_have_text("You asked: And socks?")
    await expect(page.locator(".answer")).to_have_text("Socks too.")
    assert "conversation" not in page.url
    assert (await _ask(page, server)).conversation == "conv-elsewhere"
    await page.get_by_role("button", name="New conversation").click()
    await page.reload()
    await expect(page.locator("#greeting")).to_be_visible()


async def test_a_dropped_connection_is_taken_up_again(page: Page, server: PageServer) -> None:
    """The reader is told, the page comes back by itself and misses nothing of what was made meanwhile."""
    turn = await _ask(page, server)
    await turn.tokens("one ")
    await expect(page.locator(".answer")).to_have_text("one ")
    server.deaf = True
    await server.drop()
    await expect(page.locator("#trouble")).to_have_text("The connection was lost. Trying again…")
    await turn.tokens("two ")
    server.deaf = False
    await server.sent("resume")
    await turn.tokens("three")
    await expect(page.locator(".answer")).to_contain_text("three")
    assert await _text(page) == "one two three"
    await expect(page.locator("#trouble")).to_be_hidden()


async def test_a_connection_that_died_without_a_word_is_noticed(page: Page, server: PageServer) -> None:
    """After a long silence the page asks; no answer to that either, and it comes back on a new connection."""
    await page.clock.install()
    await page.reload()
    turn = await _ask(page, server)
    await turn.tokens("one ")
    await expect(page.locator(".answer")).to_have_text("one ")
    await page.clock.fast_forward(SILENCE)
    await server.sent("ping")
    await turn.tokens("two ")
    await expect(page.locator(".answer")).to_contain_text("two")
    server.mute = True
    await page.clock.fast_forward(SILENCE)
    await server.sent("ping", 2)
    await page.clock.fast_forward(SILENCE)
    await expect(page.locator("#trouble")).to_have_text("The connection was lost. Trying again…")
    await page.clock.fast_forward(SILENCE)
    await server.sent("resume")
    await turn.tokens("three")
    await expect(page.locator(".answer")).to_contain_text("three")
    assert await _text(page) == "one two three"


async def test_a_full_browser_costs_nothing(page: Page, server: PageServer) -> None:
    """Where what was shown cannot be kept, its ids can, and all of it is told again."""
    await page.add_init_script("""
        const keep = Storage.prototype.setItem;
        Storage.prototype.setItem = function (name, value) {
            if (value.length > 3000) throw new DOMException("full", "QuotaExceededError");
            keep.call(this, name, value);
        };
    """)
    await page.reload()
    turn = await _ask(page, server)
    await turn.tokens("long " * 1000)
    await expect(page.locator(".answer")).to_contain_text("long")
    await page.reload()
    assert (await server.sent("resume"))["after"] == 0
    await turn.tokens("end")
    await expect(page.locator(".answer")).to_contain_text("end")
    assert await _text(page) == "long " * 1000 + "end"


async def test_a_message_into_a_dead_connection_is_said_once(page: Page, server: PageServer) -> None:
    """It goes again under its own id, so that the gateway knows it."""
    server.deaf = True
    await page.locator("#text").fill(QUESTION)
    await page.keyboard.press("Enter")
    await expect(page.locator("#trouble")).to_have_text("The connection was lost. Trying again…")
    server.deaf = False
    turn = await server.said()
    assert turn.message_id == (await server.sent("say"))["message_id"]
    await turn.final("Here.")
    await expect(page.locator(".answer")).to_have_text("Here.")
    assert len(server.turns) == 1


async def test_stop_stops(page: Page, server: PageServer) -> None:
    """Stop asks for this turn, what was made stays as the gateway lets it stand, and the composer is back."""
    turn = await _ask(page, server)
    await turn.tokens("You have ")
    await expect(page.locator(".answer")).to_have_text("You have ")
    await expect(_sends(page)).to_be_hidden()
    await page.get_by_role("button", name="Stop").click()
    asked = await server.sent("cancel")
    assert (asked["conversation"], asked["turn"]) == (turn.conversation, 1)
    await expect(page.locator(".doing")).to_have_text("Stopping…")
    await turn.final("You have", verdict="cancelled")
    await expect(page.locator(".notice")).to_have_text("Stopped. Ask again whenever you like.")
    await expect(page.locator("#text")).to_be_focused()
    await expect(_sends(page)).to_be_visible()


# citations -----------------------------------------------------------------------------------------


async def test_a_citation_opens_the_passage_with_its_span_marked(page: Page, server: PageServer) -> None:
    """By mouse and by keyboard; Escape closes, and the focus goes back to the number that was pressed."""
    await _answered(page, server)
    assert await _text(page) == ANSWER
    cited = page.locator(".cited")
    await expect(cited).to_have_attribute("aria-label", "Source 1: Returns and refunds")
    await cited.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_role("heading")).to_have_text("[1] Returns and refunds § Online orders")
    await expect(dialog.locator("mark")).to_have_text(QUOTE)
    assert await dialog.locator("#passage-text").text_content() == PASSAGE
    await _screenshot(page, "citation")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(cited).to_be_focused()
    await page.get_by_role("button", name="[1] Returns and refunds § Online orders").click()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()


async def test_spans_count_characters(page: Page, server: PageServer) -> None:
    """Not the units of a JavaScript string, of which an emoji has two."""
    turn = await _ask(page, server)
    told = {**CITATION, "start": 10, "end": 12, "passage": {"text": "👟👟 🧦!", "start": 7}}
    await turn.final("Socks. [1]", citations=[told])
    await page.locator(".cited").click()
    await expect(page.locator("#passage mark")).to_have_text("🧦!")


async def test_a_number_without_a_citation_is_only_text(page: Page, server: PageServer) -> None:
    """``[2]`` leads nowhere, so it is no button; a citation without its passage shows its quote."""
    turn = await _ask(page, server)
    await turn.final("Thirty days [1], see [2] and [x].", citations=[WITHOUT_PASSAGE])
    await expect(page.locator(".cited")).to_have_text(["[1]"])
    await page.locator(".cited").click()
    await expect(page.locator("#passage mark")).to_have_text(QUOTE)


# text is text --------------------------------------------------------------------------------------


async def test_text_is_never_html(page: Page, server: PageServer) -> None:
    """Markup in question, reasoning, answer, citation, retraction, error or trace address does nothing."""
    server.scopes = ("chat", "operate")
    await page.reload()
    await page.locator("#files").set_input_files([_file(HOSTILE.replace("/", ""), HOSTILE.encode())])
    await expect(_chips(page)).to_contain_text("<script>")
    turn = await _ask(page, server, HOSTILE)
    await expect(page.locator("article li")).to_contain_text("<script>")
    await turn.send("step", step=HOSTILE, attempt=1)
    await turn.send("retract", why=HOSTILE)
    await turn.send("reasoning", text=HOSTILE)
    await turn.tokens(*HOSTILE, " [1]")
    citation = {**CITATION, "title": HOSTILE, "section": HOSTILE, "document": HOSTILE, "start": 0, "end": 20}
    await turn.send("citation", **{**citation, "passage": {"text": HOSTILE, "start": 0}})
    await expect(page.locator(".cited")).to_be_visible()
    assert await _text(page) == f"{HOSTILE} [1]"
    await page.locator(".cited").click()
    assert await page.locator("#passage-text").text_content() == HOSTILE
    await page.keyboard.press("Escape")
    await turn.final(f"{HOSTILE} [1]", trace_url="javascript:window.hurt=1", language='"><img src=x>')
    await expect(page.get_by_role("button", name="Copy")).to_be_visible()
    await expect(page.get_by_role("link", name="trace")).to_have_count(0)
    failing = await _ask(page, server, HOSTILE)
    await failing.send("error", type="about:blank", title=HOSTILE, status=503, detail=HOSTILE)
    await expect(page.locator(".notice.bad")).to_contain_text(HOSTILE)
    await page.reload()
    await expect(page.locator("article")).to_have_count(2)
    await expect(page.locator("main img, main script, main a[href^='javascript']")).to_have_count(0)
    assert await page.evaluate("window.hurt") is None


def test_no_module_writes_html() -> None:
    """The ways in which a text could become markup are not in the page's code, and it stays small."""
    files = list(chat_page.FOLDER.iterdir())
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function|srcdoc")
    assert not [path.name for path in files if ways.search(path.read_text("utf-8"))]
    assert sum(path.stat().st_size for path in files) < 72 * 1024


# files ---------------------------------------------------------------------------------------------


def _attach(page: Page) -> Locator:
    return page.get_by_role("button", name="Attach text files")


def _chips(page: Page) -> Locator:
    return page.locator("#attached li")


def _file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "", "buffer": content}


async def test_files_go_with_the_next_message(page: Page, server: PageServer) -> None:
    """Chosen and removed by keyboard, told to a screen reader, sent as they are, and sent again with the question."""
    chooser: asyncio.Future[FileChooser] = asyncio.get_running_loop().create_future()
    # Long before it opens, for only then is it caught for sure.
    page.once("filechooser", lambda found: chooser.set_result(found))
    await expect(_attach(page)).to_have_accessible_description("Up to 4 text files (UTF-8), 8,000 characters together.")
    text = "Shoes: 30 days 📦\r\n鞋子"
    terms = _file("terms\u3000 1.txt", b"\xef\xbb\xbf" + text.encode())
    await _attach(page).press("Enter")
    await (await asyncio.wait_for(chooser, PATIENT / 1000)).set_files(
        [_file("prices.md", b"# A"), terms, _file("orders.csv", b"1,2")]
    )
    await expect(_chips(page)).to_have_text(
        ["prices.md3 characters×", "terms 1.txt20 characters×", "orders.csv3 characters×"]
    )
    await expect(page.locator("#said")).to_have_text("Attached: prices.md, terms 1.txt, orders.csv")
    await page.get_by_role("button", name="Remove orders.csv").press("Enter")
    await expect(page.locator("#said")).to_have_text("Removed: orders.csv")
    await expect(page.get_by_role("button", name="Remove terms 1.txt")).to_be_focused()
    await _screenshot(page, "files")
    await page.get_by_role("button", name="Remove prices.md").press("Enter")
    turn = await _ask(page, server)
    await expect(_chips(page)).to_have_count(0)
    first = await server.sent("say")
    data = f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"
    part = {"type": "file", "file": {"filename": "terms 1.txt", "file_data": data}}
    assert first["messages"] == [{"role": "user", "content": [{"type": "text", "text": QUESTION}, part]}]
    await turn.final("30 days.")
    await page.reload()
    await expect(page.get_by_role("list", name="Files of the message").get_by_role("listitem")).to_have_text(
        "terms 1.txt"
    )
    await page.get_by_role("button", name="Ask again").click()
    again = await server.sent("say", 2)
    assert again["messages"] == first["messages"]
    assert again["message_id"] != first["message_id"]


async def test_what_is_no_file_for_a_message_is_not_attached(page: Page, server: PageServer) -> None:
    """What cannot be read, is empty, too long or too many is told by name; files alone ask nothing."""
    server.max_characters = 10
    await page.reload()
    trouble, chosen = page.locator("#trouble"), page.locator("#files")
    for content, told in (
        (b"\x89PNG\r\n\x1a\n\xff", "no.txt is not a text in UTF-8, so it was not attached."),
        (b"zero\0", "no.txt is not a text in UTF-8, so it was not attached."),
        (b"", "no.txt is empty, so it was not attached."),
        (b"x" * 41, "no.txt was not attached: 10 characters together are allowed."),
        ("é".encode() * 11, "no.txt was not attached: 10 characters together are allowed."),
    ):
        await chosen.set_input_files([_file("no.txt", content)])
        await expect(trouble).to_have_text(told)
    await expect(_chips(page)).to_have_count(0)
    await chosen.set_input_files([_file(f"{number}.txt", "鞋".encode() * 2) for number in range(5)])
    await expect(trouble).to_have_text("4.txt was not attached: a message brings 4 files at most.")
    await page.get_by_role("button", name="Remove 0.txt").click()
    await expect(trouble).to_be_hidden()
    await chosen.set_input_files([_file("more.txt", b"12345")])
    await expect(trouble).to_have_text("more.txt was not attached: 10 characters together are allowed.")
    await page.locator("#text").press("Enter")
    await expect(trouble).to_have_text("Write what you want to know about the files, then send.")
    await expect(_chips(page)).to_have_count(3)
    assert not server.turns


async def test_files_that_are_too_much_for_the_site_are_told_once(page: Page, server: PageServer) -> None:
    """The gateway closes the connection at such a message; it is not sent again and again."""
    server.max_body = 1000
    await page.locator("#files").set_input_files([_file("long.txt", b"x" * 2000)])
    await page.locator("#text").fill(QUESTION)
    await page.keyboard.press("Enter")
    await expect(page.locator(".notice.bad")).to_contain_text("Make it shorter, then send it again.")
    turn = await _ask(page, server, "And socks?")
    await turn.final("Socks too.")
    await expect(page.locator(".answer").last).to_have_text("Socks too.")
    assert [said["messages"][0]["content"] for said in server.heard if said["type"] == "say"] == ["And socks?"]


# what may become of an answer ------------------------------------------------------------------------


async def test_a_retraction_replaces_the_text_with_its_reason(page: Page, server: PageServer) -> None:
    """What was shown goes, the reason is told in plain words, and the next try takes its place."""
    turn = await _ask(page, server)
    await turn.send("step", step="generate_answer", attempt=1)
    await turn.send("reasoning", text="Round and round.")
    await turn.tokens("Thirty thirty thirty thirty")
    await expect(page.locator(".answer")).to_contain_text("thirty")
    await turn.send("retract", why="repetition")
    notice = page.locator(".notice")
    await expect(notice).to_have_text(
        "What stood here was taken back: it went in circles. A better answer is on its way."
    )
    await expect(page.locator(".answer")).to_have_text("")
    await expect(page.locator(".thinking")).to_be_hidden()
    await turn.send("retry", **{"try": 2, "why": "repetition"})
    await expect(page.locator(".doing")).to_have_text("writing the answer, try 2")
    await turn.tokens("Thirty days.")
    await expect(notice).to_have_text("An earlier try was taken back: it went in circles.")
    await turn.final("Thirty days.")
    await expect(page.locator(".answer")).to_have_text("Thirty days.")


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("cancelled", "Stopped. Ask again whenever you like."),
        ("block", "The answer that was made may not be shown."),
        ("template", "What stood here was taken back: it did not pass its review."),
    ],
)
async def test_a_withdrawal_that_ends_the_turn(page: Page, server: PageServer, verdict: str, told: str) -> None:
    """It is told once, and not as if another try had followed."""
    turn = await _ask(page, server)
    await turn.tokens("Thirty")
    await turn.send("retract", why=verdict)
    await turn.final("Please ask our staff.", verdict=verdict)
    await expect(page.locator(".answer")).to_have_text("Please ask our staff.")
    await expect(page.locator(".notice")).to_have_text(told)


async def test_a_person_decides(page: Page, server: PageServer) -> None:
    """The wait is told, the composer stays free, and the decision stands there without a reload."""
    turn = await _ask(page, server)
    await turn.final("A colleague will look at this.", verdict="human", state="waiting")
    await expect(page.locator(".notice")).to_contain_text("A person looks at this before it is answered.")
    await expect(_sends(page)).to_be_visible()
    turn.state, turn.answer, turn.verdict = "done", "Yes, you may.", "pass"
    await expect(page.locator(".answer")).to_have_text("Yes, you may.")
    await expect(page.locator(".notice")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (404, "Begin a new one."),
        (409, "Begin a new one, or wait until its last answer is done."),
        (422, "Change what is named here"),
        (429, "Wait a moment, then ask again."),
        (503, "Your message was not lost"),
        (500, "tell the people who run this site"),
    ],
)
async def test_an_error_says_what_to_do(page: Page, server: PageServer, status: int, way_out: str) -> None:
    """What happened in the gateway's words, the way out in the page's, and the question can be asked again."""
    turn = await _ask(page, server)
    await turn.send("error", type="/docs#x", title="Something", status=status, detail="gpu: nobody is there.")
    await expect(page.locator(".notice.bad")).to_contain_text("This was not answered: gpu: nobody is there.")
    await expect(page.locator(".notice.bad")).to_contain_text(way_out)
    await page.get_by_role("button", name="Ask again").click()
    assert (await server.said(2)).question == QUESTION


async def test_an_answer_takes_the_place_of_an_error(page: Page, server: PageServer) -> None:
    """A gateway that stopped in the middle of a turn: after a reload the transcript has its answer, and all is well."""
    turn = await _ask(page, server)
    await turn.send("error", type="/docs#x", title="Stopping", status=503, detail="the gateway is stopping.")
    await expect(page.locator(".notice.bad")).to_contain_text("This was not answered")
    turn.answer = "You have 30 days."
    await page.reload()
    await expect(page.locator(".answer")).to_have_text("You have 30 days.")
    await expect(page.locator(".notice.bad")).to_have_count(0)


# afterwards ----------------------------------------------------------------------------------------


async def test_copy_ask_again_and_feedback(page: Page, server: PageServer, browser: Browser) -> None:
    """Copy gives the answer as it is; a thumb is sent at once, a line with it if there is one."""
    turn = await _answered(page, server)
    await cast("BrowserContext", page.context).grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == ANSWER
    server.refused.add("/v1/feedback")
    good = page.get_by_role("button", name="This helped")
    await good.click()
    await expect(page.get_by_text("That did not get through.")).to_be_visible()
    await expect(good).to_have_attribute("aria-pressed", "false")
    server.refused.clear()
    await good.click()
    await expect(good).to_have_attribute("aria-pressed", "true")
    given = await server.sent("/v1/feedback")
    assert (given["conversation"], given["turn"], given["score"]) == (turn.conversation, 1, 1)
    await page.get_by_label("Tell us more, if you like").fill("clear")
    await page.keyboard.press("Enter")
    assert (await server.sent("/v1/feedback", 2))["comment"] == "clear"
    await expect(page.get_by_text("Thank you.")).to_be_visible()
    await page.get_by_role("button", name="Ask again").click()
    again = await server.said(2)
    assert again.question == QUESTION
    assert again.message_id != turn.message_id


async def test_the_trace_is_for_operators(page: Page, server: PageServer) -> None:
    """A small link to the workflow and one to the Web UI, for those alone who may follow them."""
    turn = await _answered(page, server)
    await expect(page.get_by_role("link", name="trace")).to_have_count(0)
    web_ui = page.get_by_role("link", name="Temporal Web UI")
    await expect(web_ui).to_be_hidden()
    server.scopes = ("chat", "operate")
    await page.reload()
    await expect(web_ui).to_have_attribute("href", "http://127.0.0.1:8233")
    link = page.get_by_role("link", name="trace")
    await expect(link).to_have_attribute("href", re.compile(f"/workflows/{turn.conversation}$"))
    await expect(link).to_have_attribute("rel", "noopener noreferrer")


# who is here ---------------------------------------------------------------------------------------


async def test_a_key_is_asked_for(browser: Browser, server: PageServer) -> None:
    """A wrong one is told, a right one is kept in this tab and goes with the socket and with each request."""
    server.locked = True
    async with _opened(browser, server) as page:
        dialog = page.get_by_role("dialog", name="A key is needed")
        await page.get_by_label("API key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_contain_text("This key was not taken.")
        await page.get_by_label("API key").fill(KEY)
        await page.keyboard.press("Enter")
        await expect(dialog).to_be_hidden()
        turn = await _ask(page, server)
        await turn.final("Welcome.")
        await expect(page.locator(".answer")).to_have_text("Welcome.")
        await page.reload()
        await expect(page.locator(".answer")).to_have_text("Welcome.")
        await expect(dialog).to_be_hidden()
        assert KEY not in await page.evaluate("JSON.stringify(localStorage)")
        await page.get_by_role("button", name="Use another key").click()
        await expect(dialog).to_be_visible()


async def test_a_revoked_key_is_asked_for_again(browser: Browser, server: PageServer) -> None:
    """The message that met the refusal is said once a key is there."""
    async with _opened(browser, server) as page:
        await expect(page.locator("#greeting")).to_be_visible()
        server.locked = True
        await page.locator("#text").fill(QUESTION)
        await page.keyboard.press("Enter")
        await page.get_by_label("API key").fill(KEY)
        await page.keyboard.press("Enter")
        turn = await server.said()
        await turn.final("Welcome.")
        await expect(page.locator(".answer")).to_have_text("Welcome.")


def _review(turn: int, draft: str | None) -> dict[str, Any]:
    found = (
        None if draft is None else {"answer": draft, "reason": "rule aml-threshold", "findings": [], "citations": []}
    )
    question = f"May I send {turn},000 abroad?"
    text = HOSTILE if turn == 2 else "Form A-17: transfers abroad\nAmount: 1,000 EUR"
    files = [] if draft is None else [{"name": f"form {turn}.txt", "text": text, "digest": ""}]
    place = {"conversation": "conv-1", "tenant": "default", "turn": turn}
    return {**place, "question": question, "files": files, "draft": found}


async def test_the_reviewers_list(browser: Browser, server: PageServer) -> None:
    """What waits stands there with its draft; approve, edit and reject send the decision and say so."""
    server.scopes = ("chat", "review")
    server.waiting = [_review(1, "Yes."), _review(2, "Perhaps."), _review(3, None)]
    async with _opened(browser, server) as page:
        await page.get_by_role("button", name="Reviews (3)").click()
        cards = page.locator(".review")
        await expect(cards).to_have_count(3)
        await expect(cards.nth(0)).to_contain_text("rule aml-threshold")
        await cards.nth(0).get_by_text("form 1.txt").press("Enter")
        await expect(cards.nth(0).get_by_role("region", name="form 1.txt")).to_contain_text("Form A-17")
        assert await cards.nth(1).locator("details .draft").text_content() == HOSTILE
        await expect(cards.nth(2).locator("details")).to_have_count(0)
        await _screenshot(page, "reviews")
        await cards.nth(0).get_by_label("Note for the record").fill("being written")
        async with page.expect_response("**/v1/reviews*"):
            await page.get_by_role("button", name="Look again").click()
        await expect(cards.nth(0).get_by_label("Note for the record")).to_have_value("being written")
        await cards.nth(0).get_by_role("button", name="Approve").click()
        first = await server.sent("/v1/reviews/conv-1")
        assert (first["turn"], first["decision"], "answer" in first) == (1, "approve", False)
        await expect(cards.nth(0)).to_contain_text("Approved and sent.")
        await cards.nth(1).get_by_role("button", name="Edit").click()
        await expect(cards.nth(1).get_by_label("Your answer")).to_have_value("Perhaps.")
        await cards.nth(1).get_by_label("Your answer").fill("Yes, with a form.")
        await cards.nth(1).get_by_role("button", name="Send this instead").click()
        second = await server.sent("/v1/reviews/conv-1", 2)
        assert (second["decision"], second["answer"]) == ("edit", "Yes, with a form.")
        await expect(cards.nth(2).get_by_role("button", name="Approve")).to_have_count(0)
        server.refused.add("/v1/reviews/conv-1")
        await cards.nth(2).get_by_role("button", name="Reject").click()
        await expect(cards.nth(2).get_by_role("status")).to_have_text("not now")
        server.refused.clear()
        await cards.nth(2).get_by_label("Note for the record").fill("not ours")
        await cards.nth(2).get_by_role("button", name="Reject").click()
        third = await server.sent("/v1/reviews/conv-1", 3)
        assert (third["decision"], third["note"]) == ("reject", "not ours")
        await page.get_by_role("button", name="Back to the chat").click()
        await expect(page.locator("#text")).to_be_visible()


async def test_the_reviewers_list_is_for_reviewers(page: Page, server: PageServer) -> None:
    """Who may not decide does not see the way there."""
    await _answered(page, server)
    await expect(page.locator("#reviewing")).to_be_hidden()


# how it is used ------------------------------------------------------------------------------------


async def test_both_languages(browser: Browser, server: PageServer) -> None:
    """The browser's language first; the other one at a press, with what already stands there, and kept."""
    async with _opened(browser, server, locale="zh-CN") as page:
        await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        await expect(page.get_by_role("button", name="发送")).to_be_visible()
        await _answered(page, server, CHINESE_ANSWER, "网上买的鞋子几天内可以退货？")
        await _screenshot(page, "zh-CN")
        await page.get_by_role("button", name="English").click()
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await expect(page.get_by_role("button", name="Ask again")).to_be_visible()
        await page.reload()
        await expect(_sends(page)).to_be_visible()
        assert await _text(page) == CHINESE_ANSWER


def test_the_languages_have_the_same_words() -> None:
    """No word of one table is missing from the other."""
    source = (chat_page.FOLDER / "words.js").read_text("utf-8")
    english, chinese = (
        re.findall(r"^ +(\w+):", part, re.MULTILINE)
        for part in re.findall(r"const (?:EN|ZH) = \{(.*?)^\};", source, re.DOTALL | re.MULTILINE)
    )
    assert english == chinese


async def test_a_telephone_needs_no_sideways_scrolling(browser: Browser, server: PageServer) -> None:
    """360 pixels, with words and addresses that do not end."""
    server.scopes = ("chat", "review", "operate")
    server.waiting = [_review(1, "x" * 300)]
    async with _opened(browser, server, viewport={"width": 360, "height": 640}, has_touch=True) as page:
        await _answered(page, server, "https://example.test/" + "a" * 200 + " [1]\n" + "很长" * 100)
        await _fits(page)
        await page.locator("#files").set_input_files([_file("a" * 120 + ".txt", b"a"), _file("退货" * 60, b"b")])
        await expect(_chips(page)).to_have_count(2)
        await _fits(page)
        await page.get_by_role("button", name="This helped").click()
        await expect(page.get_by_label("Tell us more")).to_be_visible()
        await _fits(page)
        await page.locator(".cited").click()
        await _fits(page)
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Reviews (1)").click()
        await expect(page.locator(".review")).to_be_visible()
        await _fits(page)
        await page.locator("#language").click()
        await _fits(page)


async def test_a_telephone_in_the_dark(browser: Browser, server: PageServer) -> None:
    """The picture of the docs; nothing is wider than the screen there either."""
    size: Any = {"width": 360, "height": 640}
    async with _opened(browser, server, viewport=size, color_scheme="dark") as page:
        await _answered(page, server)
        await _fits(page)
        await _screenshot(page, "phone-dark")


async def _fits(page: Page) -> None:
    assert await page.evaluate("document.scrollingElement.scrollWidth") <= 360


async def test_the_keyboard_alone_is_enough(page: Page, server: PageServer) -> None:
    """From the skip link to the question, to the source and back, to the thumb: in the order of the page."""
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to your message")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#text")).to_be_focused()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    turn = await server.said()
    assert turn.question == "one\ntwo"
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Stop")).to_be_focused()
    await turn.final(ANSWER, citations=[CITATION])
    await expect(page.locator("#text")).to_be_focused()
    for name in ("Attach", "This did not help", "This helped", "Ask again", "Copy", "[1] Returns", "Source 1"):
        await page.keyboard.press("Shift+Tab")
        await expect(page.get_by_role("button", name=name)).to_be_focused()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Close")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Source 1")).to_be_focused()


@pytest.mark.parametrize("how", ["isComposing: true", "keyCode: 229"])
async def test_enter_that_ends_a_composition_sends_nothing(page: Page, server: PageServer, how: str) -> None:
    """An input method takes Enter for its suggestion."""
    await page.locator("#text").fill("退货")
    composed = f"new KeyboardEvent('keydown', {{key: 'Enter', bubbles: true, cancelable: true, {how}}})"
    assert await page.evaluate(f"document.getElementById('text').dispatchEvent({composed})")  # nobody prevented it
    await expect(page.locator("#text")).to_have_value("退货")
    await expect(page.locator("article")).to_have_count(0)
    await page.locator("#text").press("Enter")
    assert (await server.said()).question == "退货"


async def test_nothing_moves_for_who_wants_it_still(browser: Browser, server: PageServer) -> None:
    """The mark of the present step does not breathe."""
    async with _opened(browser, server, reduced_motion="reduce") as page:
        turn = await _ask(page, server)
        await turn.send("step", step="generate_answer", attempt=1)
        await expect(page.locator(".marks .now")).to_have_css("animation-name", "none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
async def test_axe_finds_nothing_serious(browser: Browser, server: PageServer, scheme: Any, locale: str) -> None:
    """While it flows, afterwards, with the passage open, withdrawn, failed, in the list and at the door."""
    server.scopes = ("chat", "review", "operate")
    server.waiting = [_review(1, "Yes.")]
    async with _opened(browser, server, color_scheme=scheme, locale=locale) as page:
        await _answered(page, server)
        await page.locator(".thumb").first.click()
        await expect(page.locator(".below input")).to_be_visible()
        await page.locator("#files").set_input_files([_file("a.txt", b"a"), _file("b.txt", b"")])
        await expect(_chips(page)).to_have_count(1)
        await _axe(page)
        await page.locator(".thinking summary").click()
        await page.locator(".cited").click()
        await _axe(page)
        await page.keyboard.press("Escape")
        turn = await _ask(page, server)
        await turn.send("step", step="generate_answer", attempt=1)
        await turn.send("retract", why="repetition")
        await expect(page.locator(".notice")).to_have_count(2)
        await _axe(page)
        await turn.send("error", type="about:blank", title="Away", status=503, detail="gpu: nobody is there.")
        await expect(page.locator(".notice.bad")).to_be_visible()
        await _axe(page)
        await page.locator("#reviewing").click()
        await expect(page.locator(".review")).to_be_visible()
        await page.locator(".review summary").click()
        await _axe(page)
        server.locked = True
        await page.reload()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await _axe(page)


async def _axe(page: Page) -> None:
    await page.evaluate(AXE_FILE_PATH.read_text("utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]


# how it is served ----------------------------------------------------------------------------------


@pytest.fixture
async def served() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=chat_page.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_the_files_and_their_headers(served: httpx.AsyncClient) -> None:
    """Each has its type, the policy and an ETag; the page names no other host."""
    index = await served.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", index.text)
    linked = re.findall(r"(?:src|href)=\"(/page/[^\"]+)\"", index.text)
    types: dict[str, str] = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    for address in ["/", *linked]:
        response = await served.get(address)
        assert response.headers["content-type"] == types.get(Path(address).suffix, "text/html; charset=utf-8")
        assert response.headers["content-security-policy"] == chat_page.POLICY
        assert response.headers["cache-control"] == "no-cache"
        again = await served.get(address, headers={"If-None-Match": f'"other", W/{response.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert (await served.head(address)).status_code == 200


@pytest.mark.parametrize("path", ["/page/no.js", "/page/../chat_page.py", "/page/%2e%2e/chat_page.py", "/page/"])
async def test_nothing_else_is_served(served: httpx.AsyncClient, path: str) -> None:
    """The files of the folder as they were at the start, and no path that leads out of it."""
    assert (await served.get(path)).status_code == 404


async def test_the_policy_holds(page: Page) -> None:
    """An inline script put into the page by whatever means does not run."""
    await page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.hurt = 1";
        document.body.append(script);
    }""")
    assert await page.evaluate("window.hurt") is None
