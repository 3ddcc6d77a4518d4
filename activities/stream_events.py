"""What a reader of the token log is told beside the tokens. A lost log costs the stream, never the answer."""

from __future__ import annotations

from typing import Any

import structlog

from dialogue.faults import RecordsFault
from dialogue.messages import TurnKey, message_stream
from records.token_log import TokenLog

__all__ = ["StreamEvents"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")


class StreamEvents:
    def __init__(self, token_log: TokenLog) -> None:
        self._token_log = token_log

    async def publish(self, turn: TurnKey, kind: str, data: dict[str, Any], *, key: str) -> None:
        """Appends one event, once however often it is published under ``key``."""
        await self._publish(turn.stream, kind, data, key)

    async def accepted(self, turn: TurnKey, message_id: str | None, digest: str) -> None:
        """Begins the turn's stream, and tells whoever knows only the message, whose digest is ``digest``, which turn it
        became."""
        data = {"conversation": turn.conversation, "turn": turn.turn, "message_id": message_id}
        await self.publish(turn, "accepted", data, key="accepted")
        if message_id is not None:
            which = {**data, "tenant": turn.tenant, "text_digest": digest}
            await self._publish(message_stream(turn.conversation, message_id), "accepted", which, "accepted")

    async def _publish(self, stream: str, kind: str, data: dict[str, Any], key: str) -> None:
        try:
            await self._token_log.publish(stream, kind, data, key=key)
        except RecordsFault as fault:
            log.warning("stream event lost", kind=kind, fault=fault.type, reason=fault.message)
