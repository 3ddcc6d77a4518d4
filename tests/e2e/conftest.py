"""One installation for all end-to-end tests, with the real model, and a conversation held in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.site import Site, bring_up_site


@pytest.fixture(scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Embedded profile: Temporal, dialogue and gpu pools, gateway, real model, demo knowledge base."""
    async with bring_up_site(Path(tmp_path_factory.mktemp("site"))) as site:
        yield site
