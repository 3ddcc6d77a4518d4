"""A site's records with the rows of recorded conversations."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dialogue.steps import Passage
from knowledge_base.terms import terms
from records.audit import AuditLog
from records.audit_rows import AuditRow
from records.audit_words import AuditWords
from records.database import connect_database, migrate
from tests.replay.made import story

__all__ = ["ADDRESS", "MAIL", "kept_site", "records_of"]

MAIL, ADDRESS = "ann.lee@example.org", "192.0.2.7"
"""In each row's message; in each row."""


def kept_site(folder: Path, *names: str, url: str = "") -> Path:
    """Its settings' file. ``url``: of its database; else a file of its own."""
    file = folder / "temporal.yaml"
    file.write_text(f"data: var\nrecords: {{database: '{url or records_of(folder)}'}}\n")
    (folder / "var").mkdir()
    asyncio.run(_fill(url or records_of(folder), names))
    return file


def records_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'var' / 'records.db'}"


async def _fill(url: str, names: tuple[str, ...]) -> None:
    await migrate(url)
    database = connect_database(url)
    audit = AuditLog(database, words=AuditWords(database, terms))
    for name in names:
        for turn in (await story(name)).turns:
            kept = {"intent", "confidence", "model", "model_digest", "snapshot", "policy_digest", "usage"}
            row = {
                "conversation": turn.conversation,
                "turn": turn.turn,
                "tenant": turn.tenant,
                "user_id": "ann",
                "ip_address": ADDRESS,
                "message_id": turn.message_id,
                "input_text": f"{turn.question} {MAIL}",
                "output_text": turn.answer,
                "timestamp": turn.received,
                "verdict": turn.verdict,
                "citations": _cited(turn.passages),
            }
            await audit.append(AuditRow.model_validate({**turn.model_dump(include=kept), **row}))
    await database.dispose()


def _cited(passages: tuple[Passage, ...]) -> list[dict[str, object]]:
    """As if the answer had cited all that it was shown."""
    same = {"document", "title", "section", "start", "end"}
    return [
        {**each.model_dump(include=same), "number": number, "quote": each.text, "support": 1.0}
        for number, each in enumerate(passages, 1)
    ]
