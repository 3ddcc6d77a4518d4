"""Asks Parley one question, as a business service does: Temporal's SDK and a JSON object, no package of Parley's.

    .venv/bin/python examples/python_service/ask.py "How long do I have to send back shoes I bought online?"

``--ticket`` names the question: asked again under the same name, by whatever process, it gets its first answer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import uuid
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask Parley one question.")
    parser.add_argument("question")
    address = os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233")
    parser.add_argument("--address", default=address, help="Temporal's front end, host:port; else TEMPORAL_ADDRESS")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--task-queue", default="dialogue", help="the queue of the pool that serves workflows")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--user", default="anonymous")
    parser.add_argument("--caller", default=None, help="a caller token, where the site asks for one")
    parser.add_argument("--ticket", default=None, help="the name of this question in your own system")
    return parser.parse_args()


async def ask(client: Client, task_queue: str, ticket: str, question: dict[str, Any]) -> dict[str, Any]:
    """The reply, as JSON. Whether this call started the workflow or an earlier one did makes no difference."""
    try:
        handle = await client.start_workflow(
            "DialogueWorkflow",
            question,
            id=f"ticket-{ticket}",
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=f"ticket {ticket}",
        )
    except WorkflowAlreadyStartedError as error:
        handle = client.get_workflow_handle(error.workflow_id)
    return await handle.result()


def show(reply: dict[str, Any]) -> None:
    print(reply["answer"])
    for citation in reply["citations"]:
        print(f"[{citation['number']}] {citation['title']} ({citation['document']})")
    print(f"verdict {reply['verdict']} · workflow {reply['workflow_id']}", file=sys.stderr)


async def main() -> int:
    given = arguments()
    client = await Client.connect(given.address, namespace=given.namespace)
    question = {"question": given.question, "tenant": given.tenant, "user": given.user, "caller": given.caller}
    try:
        reply = await ask(client, given.task_queue, given.ticket or uuid.uuid4().hex, question)
    except WorkflowFailureError as failure:
        refused = failure.cause
        if not isinstance(refused, ApplicationError):
            raise
        print(f"{refused.type}: {refused.message}", file=sys.stderr)
        return 2
    show(reply)
    return 0


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)  # threads of the SDK can outlive the loop and abort the interpreter's own end (sdk-python #300)
