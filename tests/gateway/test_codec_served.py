"""The codec server as a process of its own, asked by the real ``temporal`` CLI and by the real Web UI in Chromium."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.stack import codec_child, server_child
from cli.supervisor import Supervisor
from cli.temporal_server import set_retention, temporal_executable
from dialogue.messages import Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from records.api_keys import ApiKeys
from records.connection import connect
from records.database import connect_database
from records.payload_looks import PayloadLooks
from records.protection import open_protection
from settings.layout import Layout
from settings.load import load
from settings.schema import Settings
from tests.support.browser import chromium, screenshot
from tests.support.ports import free_port
from tests.support.scripted_steps import SAID, ScriptedSteps, scripted_worker

pytestmark = pytest.mark.xdist_group("codec")

QUESTION = "How long may I return shoes zebra-4711?"
LONG = f"And boots? {'very long, ' * 500} zebra-4712"
PATIENT = 30_000  # milliseconds: two busy cores


@dataclass
class Served:
    settings: Settings
    codec: str
    engine: AsyncEngine
    workflow: str
    run: str
    queue: str

    async def key(self, scope: str, user: str | None = "carol") -> str:
        return (await ApiKeys(self.engine).create("default", scopes=[scope], user=user))[0]

    async def shown(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of ``temporal workflow …`` against this server."""
        process = await asyncio.create_subprocess_exec(
            temporal_executable(), "workflow", *arguments, "--address", self.settings.temporal.address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def history(self, key: str, *more: str) -> tuple[int, str]:
        return await self.shown(
            "show", "-w", self.workflow, "--output", "json",
            "--codec-endpoint", self.codec, "--codec-auth", f"Bearer {key}", *more,
        )  # fmt: skip


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Temporal with its Web UI and the codec server as ``parley up`` starts them, and a conversation of two turns, of
    which the second is stored outside."""
    folder: Path = tmp_path_factory.mktemp("codec")
    config = folder / "temporal.yaml"
    ui = free_port()
    config.write_text(
        f"temporal: {{address: '127.0.0.1:{free_port()}', web_ui: 'http://127.0.0.1:{ui}',\n"
        f"  dev_server: {{ui_port: {ui}}}}}\n"
        f"codec_server: {{port: {free_port()}}}\n"
        "encryption: {provider: local, external: {store: local, threshold: 4096}}\n"
    )
    settings = load(config)
    layout = Layout.of(settings)
    queue = f"codec-{uuid.uuid4().hex[:8]}"
    async with Supervisor() as supervisor:
        await supervisor.start(server_child(settings, layout), codec_child(settings, layout))
        await set_retention(settings.temporal)
        engine = connect_database(layout.database_url(settings.records.database))
        protection = open_protection(settings, engine)
        assert protection is not None
        client = await connect(settings.temporal, protection=protection)
        core = Conversations(client, task_queue=queue, web_ui=settings.temporal.web_ui, keys=protection.keys)
        conversation = new_conversation_id()
        async with scripted_worker(client, ScriptedSteps(queue)):
            for number, text in enumerate((QUESTION, LONG), 1):
                say = Say(message_id=f"turn-{number:04}", text=text, user="ann")
                assert isinstance(await core.say(conversation, say, fresh=True), Reply)
            codec = settings.codec_server.reached_at(settings.codec_server.port, tls=False)
            run = (await client.get_workflow_handle(conversation).describe()).run_id
            yield Served(settings, codec, engine, conversation, run, queue)
        await engine.dispose()


def test_the_web_ui_is_told_where_the_codec_server_is(served: Served) -> None:
    """By ``parley up``, in the dev server's own option."""
    command = server_child(served.settings, Layout.of(served.settings)).command
    assert command[command.index("--ui-codec-endpoint") + 1] == served.codec


async def test_its_log_is_lines_of_json(served: Served) -> None:
    """As every process's, each with the name of this one, from the first line on."""
    code, _ = await served.history(await served.key("codec:operator"))
    assert code == 0
    lines = [json.loads(line) for line in (Layout.of(served.settings).logs / "codec.log").read_text().splitlines()]
    assert {line["process"] for line in lines} == {"codec"}
    assert {"codec_server ready", "request"} <= {line["event"] for line in lines}


def _texts(history: str) -> str:
    """All that stands in the payloads of a history as the CLI prints it."""
    found: list[str] = []

    def keep(value: dict[str, Any]) -> dict[str, Any]:
        if isinstance(data := value.get("data"), str):
            found.append(base64.b64decode(data).decode("utf-8", "replace"))
        return value

    json.loads(history, object_hook=keep)
    return "\n".join(found)


async def test_the_temporal_cli_shows_what_the_role_allows(served: Served) -> None:
    """``workflow show``: texts to a reviewer, stored ones too; sizes to an operator; nothing without a key."""
    code, raw = await served.shown("show", "-w", served.workflow, "--output", "json")
    assert code == 0
    assert "zebra" not in _texts(raw)
    code, read = await served.history(await served.key("codec:auditor"))
    assert code == 0
    texts = _texts(read)
    for word in ("zebra-4711", "zebra-4712", SAID):
        assert word in texts
    looks = await PayloadLooks(served.engine).of_tenant("default")
    assert {look.workflow_id for look in looks} == {served.workflow}
    assert sum(look.payloads for look in looks) > 20
    code, sizes = await served.history(await served.key("codec:operator"))
    assert code == 0
    texts = _texts(sizes)
    assert "zebra" not in texts
    assert SAID not in texts
    assert '"sealed": true' in texts
    details = ("--codec-endpoint", served.codec, "--codec-auth", f"Bearer {await served.key('codec:reviewer')}")
    code, told = await served.shown("metadata", "-w", served.workflow, *details)
    assert (code, "zebra-4711" in told) == (0, True), told
    # the CLI takes a refusal for something to try again, until its time is up
    code, refused = await served.history("plk_nothing", "--command-timeout", "2s")
    assert code != 0
    assert "events" not in refused


async def test_a_program_seals_and_opens_through_the_temporal_cli(served: Served) -> None:
    """``workflow execute`` under ``/TENANT/USER``: it has no key of the site, its words reach the server sealed under
    that user's, and forgetting them reaches the workflow."""
    asked = json.dumps({"question": "Where are my socks zebra-4713?", "tenant": "default", "user": "dora"})
    workflow = f"dlg-{uuid.uuid4().hex}"
    code, said = await served.shown(
        "execute", "-w", workflow, "--type", "DialogueWorkflow", "--task-queue", served.queue, "--input", asked,
        "--static-summary", "asked about zebra-4714", "--output", "json",
        "--codec-endpoint", f"{served.codec}/default/dora",
        "--codec-auth", f"Bearer {await served.key('codec:service', None)}",
    )  # fmt: skip
    assert code == 0, said
    assert SAID in said
    code, raw = await served.shown("show", "-w", workflow, "--output", "json")
    assert code == 0
    assert not any(word in _texts(raw) for word in ("zebra-4713", "zebra-4714", SAID))
    protection = open_protection(served.settings, served.engine)
    assert protection is not None
    assert await protection.keys.workflows_of("default", "dora") == (workflow,)


async def _signed_in(browser: Browser, served: Served, scope: str) -> tuple[BrowserContext, Page]:
    """As docs/codec-server.md says: sign in at the codec server, then have the Web UI send that along."""
    context = await browser.new_context(viewport={"width": 1400, "height": 1150})
    context.set_default_timeout(PATIENT)
    expect.set_options(timeout=PATIENT)
    page = await context.new_page()
    await page.goto(served.codec)
    await page.get_by_label("Key or token").fill(await served.key(scope))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text(f"as {scope.removeprefix('codec:')}")).to_be_visible()
    await page.goto(served.settings.temporal.web_ui)
    await page.locator("[data-testid^=data-encoder-status]").first.click()
    await page.get_by_test_id("use-local-endpoint-input").click()
    await page.locator("#data-encoder-endpoint-input").fill(served.codec)
    await page.get_by_text("Include cross-origin credentials").click()
    await page.get_by_role("button", name="Apply").click()
    return context, page


@pytest.mark.full
async def test_the_web_ui_reads_for_a_reviewer_and_not_for_an_operator(served: Served) -> None:
    """In Chromium: the question, the answer, the summaries and the table of turns; for an operator none of their
    words."""
    where = f"{served.settings.temporal.web_ui}/namespaces/default/workflows/{served.workflow}/{served.run}"
    async with chromium() as browser:
        reviewer, page = await _signed_in(browser, served, "codec:reviewer")
        await page.goto(f"{where}/history")
        await page.get_by_text("turn 1 · receive_input").first.click()
        await expect(page.get_by_text("zebra-4711").first).to_be_visible()
        await page.goto(f"{where}/timeline")
        await expect(page.get_by_text("turn 1 · generate_answer").first).to_be_visible()
        await page.get_by_text("User Metadata").first.click()
        summary, details = page.frame_locator("iframe").first, page.frame_locator("iframe").last
        await expect(summary.get_by_text("tenant default · opened by sdk")).to_be_visible()
        await expect(details.get_by_role("row").nth(1)).to_contain_text("zebra")
        await screenshot(page, "web-ui-codec-reviewer")
        await reviewer.close()
        operator, page = await _signed_in(browser, served, "codec:operator")
        await page.goto(f"{where}/user-metadata")
        await expect(page.frame_locator("iframe").first.get_by_text("sealed · text")).to_be_visible()
        frames = page.frame_locator("iframe")
        shown = "".join([await frames.nth(number).locator("body").inner_text() for number in range(3)])
        for tab in ("history", "timeline"):
            await page.goto(f"{where}/{tab}")
            await expect(page.get_by_text("sealed · text").first).to_be_visible()
            shown += await page.content()
        await screenshot(page, "web-ui-codec-operator")
        for word in ("zebra", "turn 1 ·", "opened by", "Decoding failed"):
            assert word not in shown
        await operator.close()
