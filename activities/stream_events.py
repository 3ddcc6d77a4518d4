"""What a reader of the token log is told beside the tokens. A lost log costs the stream, never the answer."""

from __future__ import annotations

from typing import Any

import structlog

from dialogue.faults import RecordsFault
from dialogue.messages import TurnKey
from records.token_log import TokenLog

__all__ = ["StreamEvents"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")


class StreamEvents:
    def __init__(self, token_log: TokenLog) -> None:
        self._token_log = token_log

    async def publish(self, turn: TurnKey, kind: str, data: dict[str, Any], *, key: str) -> None:
        """Appends one event, once however often it is published under ``key``."""
        try:
            await self._token_log.publish(turn.stream, kind, data, key=key)
        except RecordsFault as fault:
            log.warning("stream event lost", kind=kind, fault=fault.type, reason=fault.message)
