"""A whole installation of its own for a test: real processes, free ports, a folder that is thrown away."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from sqlalchemy import text
from temporalio.client import Client

from cli.stack import Up, bring_up
from dialogue.messages import Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from records.audit import AuditLog
from records.connection import connect
from records.database import connect_database
from records.open_token_log import open_token_log
from records.protected import protection_of
from records.token_log import TokenLog
from settings.layout import Layout
from settings.load import load
from settings.schema import Settings
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.ports import free_port
from workers.run import ready_file

__all__ = ["Site", "bring_up_site", "model_cache", "started_site", "write_settings"]

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def model_cache() -> Path:
    """Where prepared models are shared by all tests of this machine."""
    return Path(os.environ.get("PARLEY_TEST_CACHE", REPOSITORY / "var" / "test-cache")) / "models"


def merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes`` over ``base``, mappings key by key; ``pools`` as a whole."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping) and key != "pools"
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def write_settings(folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """The project's own temporal.yaml with other ports and folders, and with ``changes``."""
    given = yaml.safe_load((REPOSITORY / "temporal.yaml").read_text())
    server, ui, gateway = (free_port() for _ in range(3))
    examples = REPOSITORY / "examples" / "help"
    own = {
        "data": str(folder / "var"),
        "temporal": {
            "address": f"127.0.0.1:{server}",
            "web_ui": f"http://127.0.0.1:{ui}",
            "dev_server": {"ui_port": ui},
        },
        "gateway": {"port": gateway},
        "knowledge": {"sources": [str(examples / "en"), str(examples / "zh")]},
        "intents": {"file": str(examples / "intents.yaml")},
        "policies": {"default": {"words": [str(examples / "words" / "en.txt"), str(examples / "words" / "zh.txt")]}},
        "log": {"format": "json"},
    }
    (folder / "var").mkdir(parents=True, exist_ok=True)
    model_cache().mkdir(parents=True, exist_ok=True)
    (folder / "var" / "models").symlink_to(model_cache(), target_is_directory=True)
    path = folder / "temporal.yaml"
    path.write_text(yaml.safe_dump(merged(merged(given, own), changes or {}), allow_unicode=True))
    return path


@dataclass
class Site:
    """What runs, and ways to talk to it."""

    config: Path
    settings: Settings
    layout: Layout
    up: Up
    client: Client
    conversations: Conversations
    audit: AuditLog
    token_log: TokenLog
    conversation: str = ""
    collector: OtlpReceiver | None = None
    environment: dict[str, str] = field(default_factory=dict)
    repository: Path = REPOSITORY

    @property
    def gateway_url(self) -> str:
        return self.up.running.gateway

    @property
    def temporal_address(self) -> str:
        return self.settings.temporal.address

    def metrics_url(self, pool: str) -> str:
        """Of the worker that serves the pool now; killed ones leave their file behind."""
        ready = ready_file(self.layout, pool, self.up.supervisor.pids[pool])
        return json.loads(ready.read_text())["metrics"]

    def new(self) -> str:
        return new_conversation_id()

    async def say(self, conversation: str, text: str, message_id: str, **options: Any) -> Reply:
        """Says it in a conversation whose id was just made, and waits for the reply."""
        say = Say(message_id=message_id, text=text, **options.pop("say", {}))
        reply = await self.conversations.say(conversation, say, fresh=True, **options)
        assert isinstance(reply, Reply)
        return reply

    async def rows(self, conversation: str, tenant: str = "default") -> list[Any]:
        return list(await self.audit.turns(conversation, tenant))


@contextlib.asynccontextmanager
async def bring_up_site(folder: Path, changes: Mapping[str, Any] | None = None) -> AsyncIterator[Site]:
    """Everything that ``parley up`` starts, in ``folder``."""
    async with started_site(write_settings(folder, changes)) as site:
        yield site


@contextlib.asynccontextmanager
async def started_site(config: Path) -> AsyncIterator[Site]:
    """The same for settings that stand already; as often as one likes, one after the other."""
    settings = load(config)
    layout = Layout.of(settings)
    screen = io.StringIO()
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(bring_up(settings, Console(file=screen, width=100)))
        protection = protection_of(settings)
        keys = protection.keys if protection else None
        client = await connect(settings.temporal, protection=protection)
        database = connect_database(layout.database_url(settings.records.database))
        stack.push_async_callback(database.dispose)
        async with database.connect() as connection:
            await connection.execute(text("select 1"))
        token_log = open_token_log(settings.records, layout, keys)
        stack.push_async_callback(token_log.close)
        core = Conversations(
            client,
            task_queue=settings.queue_serving("workflows"),
            web_ui=settings.temporal.web_ui,
            page=settings.gateway.page,
            keys=keys,
        )
        audit = AuditLog(database, keys)
        environment = {**os.environ, "PARLEY_CONFIG": str(config), "HF_HUB_OFFLINE": "1"}
        yield Site(config, settings, layout, up, client, core, audit, token_log, environment=environment)
