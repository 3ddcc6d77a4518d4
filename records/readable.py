"""Whether a history can be read here, asked before it is replayed.

The SDK tells a payload that does not open like a workflow that broke its own history. So whoever replays asks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from temporalio.client import WorkflowHistory
from temporalio.converter import WorkflowSerializationContext

from dialogue.faults import KeyMissing
from records.codec import sealed_payloads
from records.payloads import FORGOTTEN, forgotten

if TYPE_CHECKING:
    from records.protection import Protection

__all__ = ["check_readable"]


async def check_readable(history: WorkflowHistory, protection: Protection | None) -> None:
    """Raises KeyMissing, SealBroken and KeysUnavailable: what keeps the first payload that does not open shut.

    Payloads that are stored outside are not fetched for this.
    """
    sealed = sealed_payloads(history)
    if not sealed:
        return
    if protection is None:
        raise KeyMissing(
            f"workflow {history.workflow_id}: {len(sealed)} payloads are encrypted, and encryption.provider is none. "
            "Use the temporal.yaml of the site that wrote them."
        )
    context = WorkflowSerializationContext(namespace="", workflow_id=history.workflow_id)
    opened = await protection.codec.with_context(context).decode(sealed)
    if any(payload.metadata.get("encoding") == FORGOTTEN for payload in opened):
        raise forgotten()
