"""One site for all tests of what it stands on: short answers, one try a turn, a model folder of its own to break."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.model_runtime.conftest import model_folder, tiny_checkpoint
from tests.support.site import Site, bring_up_site, model_cache

__all__ = ["SHORT", "model_folder", "tiny_checkpoint"]

SHORT: dict[str, Any] = {
    "generation": {"max_new_tokens": 16},
    "knowledge": {"passages": 1},
    "model": {"rows": 2, "widths": [256]},
    # six seconds instead of half a minute
    "steps": {"retrieve_knowledge": {"retry": {"maximum_attempts": 8}}},
    "policies": {
        "default": {
            "output": dict.fromkeys(
                ("unsupported_claim", "citation_unsupported", "no_citation", "repetition", "cut_off"), "pass"
            )
        }
    },
}


@pytest.fixture(scope="session")
async def stood(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Every test leaves it whole."""
    async with bring_up_site(tmp_path_factory.mktemp("stood"), SHORT) as site:
        name = site.layout.model(site.settings.model).name
        # instead of the link to what all tests of this machine share; engines are started from here from now on
        shutil.copytree(model_cache() / name, site.layout.data / "own" / name)
        site.layout.models.unlink()
        (site.layout.data / "own").rename(site.layout.models)
        yield site
