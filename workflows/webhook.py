"""A one-shot's webhook: tried for hours, and never the reason that a dialogue fails."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from dialogue.turn import DeliverWebhook
from workflows.progress import TurnInProgress
from workflows.steps import why_failed

__all__ = ["deliver"]

MOST_ATTEMPTS = 16
LONGEST = timedelta(hours=12)


async def deliver(url: str, turn: TurnInProgress) -> None:
    """Sends the reply there: after half a second again, then after twice as long, up to half an hour."""
    try:
        await workflow.execute_activity(
            "deliver_webhook",
            DeliverWebhook(url=url, reply=turn.reply()),
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=LONGEST,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=0.5),
                maximum_interval=timedelta(minutes=30),
                maximum_attempts=MOST_ATTEMPTS,
            ),
            summary=f"turn {turn.key.turn} · deliver_webhook",
        )
    except ActivityError as error:
        workflow.logger.warning("webhook not delivered: %s", why_failed(error))
