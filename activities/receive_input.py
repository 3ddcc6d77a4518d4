"""Step 1: the message normalised, defused, measured, judged by the tenant's policy, and the turn's plan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
from temporalio import activity

from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.faults import MessageTooLong
from dialogue.messages import message_digest
from dialogue.steps import ReceivedInput, ReceiveInput
from model_runtime.tokenizer import Tokenizer
from policy.files import FilesCheck, check_files, sternest
from policy.policy import InputCheck
from records.caller_tokens import CallerTokens

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = ["ReceiveInputStep"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")


class ReceiveInputStep:
    """``tokenizers`` by the digest of their model. ``callers`` tells whether tenant and user are believed."""

    def __init__(
        self,
        planner: TurnPlanner,
        tokenizers: Mapping[str, Tokenizer],
        events: StreamEvents,
        callers: CallerTokens | None = None,
        keys: DataKeys | None = None,
    ) -> None:
        self._planner = planner
        self._tokenizers = tokenizers
        self._events = events
        self._callers = callers or CallerTokens()
        self._keys = keys

    @activity.defn(name="receive_input")
    async def receive_input(self, request: ReceiveInput) -> ReceivedInput:
        """Raises CallerRefused, UnknownTenant, UnknownModel, MessageTooLong."""
        said_at = time.time() if request.said_at is None else request.said_at
        self._callers.verify(request.caller, request.turn.tenant, request.user, at=said_at)
        plan = self._planner.plan(request)
        if self._keys is not None:  # who came through an SDK said it to nobody before
            await self._keys.bind(request.turn.conversation, request.turn.tenant, request.user)
        await self._events.accepted(request.turn, request.message_id, message_digest(request.text, request.files))
        tokenizer = self._tokenizers[plan.model.digest]
        check, files = await asyncio.to_thread(self._check, request, tokenizer)
        policy = self._planner.policy(request.turn.tenant)
        if self._planner.tenant(request.turn.tenant).log_texts:
            log.info("message", text=check.text)
        decision = sternest((check.decision, files.decision))
        return ReceivedInput(
            text=check.text,
            language=check.language,
            files=files.files,
            tokens=sum(map(tokenizer.count, (check.text, *(file.text for file in files.files)))),
            findings=(*check.findings, *files.findings),
            decision=decision,
            refusal=policy.text("refusal", check.language) if decision == "refuse" else None,
            plan=plan,
        )

    def _check(self, request: ReceiveInput, tokenizer: Tokenizer) -> tuple[InputCheck, FilesCheck]:
        _refuse_too_long(request, self._planner.tenant(request.turn.tenant).max_characters)
        policy = self._planner.policy(request.turn.tenant)
        special = tokenizer.special_strings()
        return policy.check_input(request.text, special), check_files(policy, request.files, special)


def _refuse_too_long(request: ReceiveInput, most: int) -> None:
    """What came through the gateway was measured there, before it was accepted. Raises MessageTooLong."""
    together = sum(len(file.text) for file in request.files)
    if len(request.text) > most:
        raise MessageTooLong(f"text: has {len(request.text)} characters. Send at most {most}.", field="text")
    if together > most:
        raise MessageTooLong(f"files: have {together} characters together. Send at most {most}.", field="files")
