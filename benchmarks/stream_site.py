"""What stands behind whole turns: ``python -m benchmarks.stream_site worker|gateway|bare TEMPORAL_YAML``.

The worker's steps do nothing, under the plan that ``temporal.yaml`` gives a real turn; its engine gives the first token
at once. ``bare`` is the least that can serve the same workflow over HTTP: granian, Starlette and Temporal's SDK.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.rpc_bytes import HOST
from benchmarks.shapes import CACHED, Living, planned_steps
from cli.ending import end
from dialogue.messages import DialogueStart
from dialogue.turn import Reply
from gateway.app import create_app
from gateway.conversations import Conversations
from gateway.serve import make_server, server_options
from gateway.turn_streams import open_streams
from records.open_token_log import open_token_log
from records.plugin import parley_plugin
from settings.layout import Layout
from settings.load import load
from settings.ports import free_port
from settings.schema import Settings
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.names import DIALOGUE_WORKFLOW

__all__ = ["QUEUE"]

QUEUE = "benchmark-streams"


async def work(client: Client, settings: Settings) -> None:
    token_log = open_token_log(settings.records, Layout.of(settings))
    steps = replace(planned_steps(QUEUE, gpu=f"{QUEUE}-gpu"), token_log=token_log, calls=deque(maxlen=0))
    beside = [each for each in steps.activities() if each.__name__ != "generate_answer"]
    dialogue = Worker(
        client,
        task_queue=QUEUE,
        workflows=[ConversationWorkflow, DialogueWorkflow],
        activities=beside,
        interceptors=[Living()],
        max_cached_workflows=CACHED,
    )
    gpu = Worker(client, task_queue=f"{QUEUE}-gpu", activities=[steps.generate_answer], interceptors=[Living()])
    try:
        async with dialogue, gpu:
            await _until_told({"works": QUEUE})
    finally:
        await token_log.close()


async def gateway(client: Client, settings: Settings) -> None:
    conversations = Conversations(client, task_queue=QUEUE, web_ui=settings.temporal.web_ui)
    async with open_streams(settings, conversations.trace_url) as streams:
        stopping = asyncio.Event()
        await _serve(create_app(conversations, settings, streams, stopping=stopping), settings, stopping)


async def bare(client: Client, settings: Settings) -> None:
    async def say(request: Request) -> Response:
        asked = await request.json()
        question = DialogueStart(messages=asked["messages"], message_id=uuid4().hex, tenant="default")
        name = f"dialogue-{question.message_id}"
        reply = await client.execute_workflow(DIALOGUE_WORKFLOW, question, id=name, task_queue=QUEUE, result_type=Reply)
        return Response(reply.model_dump_json(), media_type="application/json")

    await _serve(Starlette(routes=[Route("/v1/chat", say, methods=["POST"])]), settings, asyncio.Event())


async def _serve(app: ASGIApp, settings: Settings, stopping: asyncio.Event) -> None:
    port = free_port(HOST)
    server = make_server(app, HOST, port, server_options(settings.gateway))
    serving = asyncio.create_task(server.serve())
    await _until_told({"port": port})
    stopping.set()
    server.stop()
    await serving


async def _until_told(ready: dict[str, Any]) -> None:
    print(json.dumps(ready), flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def main(role: str, config: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # no line a request
    settings = load(config)
    client = await Client.connect(settings.temporal.address, plugins=[parley_plugin()])
    await {"worker": work, "gateway": gateway, "bare": bare}[role](client, settings)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
    end(0)
