"""A site that asks who somebody is: TLS and keys at the gateway, caller tokens for who comes past it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from temporalio.client import Client

from tests.support.servers import executable
from tests.support.site import Site, started_site, write_settings

pytestmark = [pytest.mark.full, pytest.mark.e2e, pytest.mark.xdist_group("site")]

QUESTION = "How long do I have to send back shoes I bought online?"
ASKED = {"messages": [{"role": "user", "content": QUESTION}], "seed": 5}


async def run(*command: str, **environment: str) -> str:
    """What the program prints; it ends with 0."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment or None)
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


async def parley(environment: Mapping[str, str], *words: str) -> str:
    return (await run(sys.executable, "-m", "cli.main", *words, **environment)).strip()


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """With a certificate that `parley tls dev` made, as its own words say."""
    folder = tmp_path_factory.mktemp("guarded")
    tls = folder / "var" / "tls"
    changes: dict[str, Any] = {
        "gateway": {"tls": {"cert": str(tls / "cert.pem"), "key": str(tls / "key.pem")}},
        "access": {"mode": "keys", "sdk": "signed"},
        "tenants": {"default": {}, "acme": {}},
    }
    config = write_settings(folder, changes)
    await parley({**os.environ, "PARLEY_CONFIG": str(config)}, "tls", "dev")
    async with started_site(config) as site:
        yield site


def ca(site: Site) -> Path:
    return site.layout.tls / "ca.pem"


async def test_a_key_over_tls(guarded: Site) -> None:
    """curl streams an answer with it and gets 401 without; the gateway's turn is believed, because it signs; revoked,
    the key is refused from the next request on."""
    key = await parley(guarded.environment, "keys", "create", "--tenant", "default", "--user", "ann")
    url = f"https://localhost:{urlsplit(guarded.gateway_url).port}"
    curl = (executable("curl"), "-sN", "--cacert", str(ca(guarded)), "--max-time", "120")
    body = ("-H", "Content-Type: application/json", "-d", json.dumps({**ASKED, "stream": True}), f"{url}/v1/chat")
    streamed = await run(*curl, "-H", f"Authorization: Bearer {key}", *body)
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in streamed.strip().split("\n\n")]
    told = [(event["event"], json.loads(event["data"])) for event in events if "event" in event]
    kinds = [kind for kind, _ in told]
    assert (kinds.count("accepted"), kinds[-1]) == (1, "final")
    assert (told[-1][1]["verdict"], "30 days" in told[-1][1]["answer"]) == ("pass", True)
    (row,) = await guarded.rows(told[-1][1]["conversation"])
    assert (row.user_id, row.verdict) == ("ann", "pass")

    refused = await run(*curl, "-w", "\n%{http_code}", *body)
    assert refused.splitlines()[-1] == "401"
    context = ssl.create_default_context(cafile=ca(guarded))
    async with httpx.AsyncClient(verify=context, base_url=url, headers={"X-Api-Key": key}) as http:
        assert (await http.get("/v1/whoami")).json()["user"] == "ann"
        await parley(guarded.environment, "keys", "revoke", key)
        assert (await http.get("/v1/whoami")).status_code == 401


async def test_a_start_through_a_plain_sdk(guarded: Site) -> None:
    """Without a token it ends refused, with its row; with one of `parley keys token` it is answered, for whom the token
    vouches and nobody else."""
    client = await Client.connect(guarded.temporal_address)
    queue = guarded.settings.queue_serving("workflows")
    token = await parley(guarded.environment, "keys", "token", "--tenant", "acme", "--user", "ann")

    async def ask(name: str, **more: str) -> dict[str, Any]:
        start = {"question": QUESTION, "tenant": "acme", "user": "ann", **more}
        return await client.execute_workflow("DialogueWorkflow", start, id=name, task_queue=queue)

    answers = {
        "none": await ask("dlg-none"),
        "of-another": await ask("dlg-of-another", user="bob", caller=token),
        "own": await ask("dlg-own", caller=token),
    }
    assert {name: answer["verdict"] for name, answer in answers.items()} == {
        "none": "failed",
        "of-another": "failed",
        "own": "pass",
    }
    for name, answer in answers.items():
        (row,) = await guarded.rows(f"dlg-{name}", "acme")
        assert (row.verdict, row.note) == (answer["verdict"], answer["note"])
        assert ("caller-refused" in row.note) == (name != "own")
