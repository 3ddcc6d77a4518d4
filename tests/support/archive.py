"""An archive of runs in a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from records.archive import RunArchive
from records.content import ContentStore
from records.database import connect_database, migrate

__all__ = ["archive"]


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[RunArchive]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    yield RunArchive(engine, ContentStore(engine))
    await engine.dispose()
