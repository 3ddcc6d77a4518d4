"""The transports under test. Every promise runs on each that can keep it."""

from __future__ import annotations

import pytest

from tests.gateway.transports.driver import Driver
from tests.gateway.transports.openai_driver import OpenAIDriver
from tests.gateway.transports.rest_driver import RestDriver
from tests.gateway.transports.rpc_driver import ConnectDriver, GrpcWebDriver
from tests.gateway.transports.socket_driver import SocketDriver

__all__ = ["DRIVERS", "on"]

DRIVERS: dict[str, type[Driver]] = {
    "rest": RestDriver,
    "openai": OpenAIDriver,
    "web-socket": SocketDriver,
    "grpc-web": GrpcWebDriver,
    "connect": ConnectDriver,
}


def on(needed: frozenset[str]) -> pytest.MarkDecorator:
    """The test runs once for each driver that can do what is ``needed``, as its argument ``transport``."""
    able = {name: driver for name, driver in DRIVERS.items() if needed <= driver.can}
    return pytest.mark.parametrize("transport", able.values(), ids=able.keys())
