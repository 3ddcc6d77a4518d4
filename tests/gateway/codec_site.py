"""A codec server in this process, its keys and payloads to ask it about."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from google.protobuf import json_format
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import WorkflowSerializationContext

from gateway.codec_serve import codec_app
from records.api_keys import ApiKeys
from records.database import connect_database
from records.protection import Protection, open_protection
from settings.layout import Layout
from settings.schema import EncryptionSettings, ExternalSettings, Settings, TenantSettings

__all__ = ["UI", "CodecSite", "as_json", "codec_site", "payload_of", "text_of"]

UI = "http://127.0.0.1:8233"


@dataclass
class CodecSite:
    settings: Settings
    engine: AsyncEngine
    keys: ApiKeys
    protection: Protection
    http: httpx.AsyncClient

    async def key(self, *scopes: str, tenant: str = "acme", user: str | None = None) -> dict[str, str]:
        """The header of a new key."""
        key, _ = await self.keys.create(tenant, user=user, scopes=scopes)
        return {"Authorization": f"Bearer {key}"}

    async def sealed(self, text: Any, workflow: str = "w-1", tenant: str = "acme", user: str = "ann") -> Payload:
        await self.protection.keys.bind(workflow, tenant, user)
        context = WorkflowSerializationContext(namespace="default", workflow_id=workflow)
        (found,) = await self.protection.codec.with_context(context).encode([payload_of(text)])
        return found

    async def ask(self, path: str, payloads: Sequence[Payload], headers: dict[str, str]) -> httpx.Response:
        return await self.http.post(path, json={"payloads": as_json(payloads)}, headers=headers)

    async def decoded(self, path: str, payloads: Sequence[Payload], headers: dict[str, str]) -> list[Payload]:
        answer = await self.ask(path, payloads, headers)
        assert answer.status_code == 200, answer.text
        return list(json_format.Parse(answer.content, Payloads()).payloads)


@asynccontextmanager
async def codec_site(folder: Path, access: Any = None) -> AsyncIterator[CodecSite]:
    """Tenants acme and other; payloads over 4 KiB are stored outside."""
    external = ExternalSettings(store="local", threshold=4096)
    more = {"access": access} if access else {}
    settings = Settings(
        data=folder,
        encryption=EncryptionSettings(provider="local", external=external, cache_seconds=0),
        tenants={"default": TenantSettings(), "acme": TenantSettings(), "other": TenantSettings()},
        **more,
    )
    async with codec_app(settings, 8090) as app:
        engine = connect_database(Layout.of(settings).database_url(settings.records.database))
        protection = open_protection(settings, engine)
        assert protection is not None
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8090") as client:
            yield CodecSite(settings, engine, ApiKeys(engine), protection, client)
        await engine.dispose()


def payload_of(text: Any) -> Payload:
    import json

    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(text, ensure_ascii=False).encode())


def text_of(payload: Payload) -> Any:
    import json

    return json.loads(payload.data)


def as_json(payloads: Sequence[Payload]) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()},
            "data": base64.b64encode(payload.data).decode(),
        }
        for payload in payloads
    ]
