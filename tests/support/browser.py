"""A headless Chromium from PATH. Where there is none a test is skipped and says so; CI must not skip."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

__all__ = ["chromium", "screenshot"]

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not on PATH, and CI must not skip: .ci/run installs it")
        pytest.skip("chromium is not on PATH: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        await browser.close()


async def screenshot(page: Page, name: str) -> None:
    """Into the folder that PARLEY_TEST_SCREENSHOTS names: how the pictures in the docs are made."""
    folder = os.environ.get("PARLEY_TEST_SCREENSHOTS")
    if folder:
        await page.wait_for_timeout(1500)  # until nothing moves in it
        await page.screenshot(path=Path(folder) / f"{name}.png")
