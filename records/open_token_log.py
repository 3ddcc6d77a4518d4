"""The token log that ``records.token_log`` names. Nobody else knows which back ends there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from records.token_log import TokenLog
from settings.layout import Layout
from settings.schema import RecordsSettings

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = ["open_token_log"]


def open_token_log(settings: RecordsSettings, layout: Layout, keys: DataKeys | None = None) -> TokenLog:
    """It is reached when it is first used. ``keys``: from the site's protection; without them it is in clear.

    Raises TokenLogUnavailable for a URL that cannot be used, and where the extra ``redis`` is wanted and not there.
    """
    if settings.token_log == "sqlite":  # noqa: S105 a log of tokens, no password
        from records.token_log_sqlite import SqliteTokenLog

        return SqliteTokenLog(layout.token_log, keys=keys)
    from records.token_log_redis import RedisTokenLog

    kept = settings.retention.token_log * 86_400
    return RedisTokenLog(settings.token_log, tls=settings.redis_tls, keep_seconds=kept, keys=keys)
