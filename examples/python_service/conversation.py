"""Holds a conversation with Parley: each message is one round trip, and the first of them opens the conversation.

    .venv/bin/python examples/python_service/conversation.py "How long can I return shoes?" "And in a shop?"

``say`` is an update of ConversationWorkflow, sent with update-with-start. Its id is the message id: a message that is
sent again, because the line broke or the process died, is answered once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import uuid
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold a conversation with Parley.")
    parser.add_argument("messages", nargs="+")
    address = os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233")
    parser.add_argument("--address", default=address, help="Temporal's front end, host:port; else TEMPORAL_ADDRESS")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--task-queue", default="dialogue", help="the queue of the pool that serves workflows")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--user", default="anonymous")
    parser.add_argument("--caller", default=None, help="a caller token, where the site asks for one")
    parser.add_argument("--conversation", default=None, help="go on with this one; else a new one")
    return parser.parse_args()


async def say(client: Client, task_queue: str, conversation: str, message: dict[str, Any]) -> dict[str, Any]:
    """The reply, as JSON. Opens the conversation where it does not run."""
    opening = WithStartWorkflowOperation(
        "ConversationWorkflow",
        {"tenant": message["tenant"], "opened_by": "shop-service"},
        id=conversation,
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    return await client.execute_update_with_start_workflow(
        "say", message, start_workflow_operation=opening, id=message["message_id"]
    )


async def main() -> int:
    given = arguments()
    client = await Client.connect(given.address, namespace=given.namespace)
    conversation = given.conversation or f"shop-{uuid.uuid4().hex}"
    for text in given.messages:
        who = {"tenant": given.tenant, "user": given.user, "caller": given.caller}
        message = {"message_id": uuid.uuid4().hex, "text": text, **who}
        try:
            reply = await say(client, given.task_queue, conversation, message)
        except WorkflowUpdateFailedError as failure:
            refused = failure.cause
            if not isinstance(refused, ApplicationError):
                raise
            print(f"{refused.type}: {refused.message}", file=sys.stderr)
            return 2
        print(f"you     {text}")
        print(f"parley  {reply['answer']}")
    print(f"conversation {conversation}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)  # threads of the SDK can outlive the loop and abort the interpreter's own end (sdk-python #300)
