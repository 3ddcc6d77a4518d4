"""A busy port is named with the process that has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from dialogue.faults import SettingsFault
from settings.ports import check_free, free_port

LISTEN = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1]); input()"


def test_a_free_port_is_free() -> None:
    """It can be listened on, and port 0 always can."""
    check_free("127.0.0.1", free_port(), "gateway.port")
    check_free("127.0.0.1", 0, "gateway.port")


def test_the_holder_is_named() -> None:
    """By its pid and command, with the way out."""
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        with pytest.raises(SettingsFault) as busy:
            check_free("127.0.0.1", port, "gateway.port")
        other.communicate("\n")
    assert busy.value.field == "gateway.port"
    told = busy.value.message
    assert told.startswith(f"port {port} is taken by pid {other.pid} (")
    assert told.endswith("). Stop it or set gateway.port.")
    assert "\n" not in told
    check_free("127.0.0.1", port, "gateway.port")


def test_a_shared_port_is_busy_too() -> None:
    """A socket that would let others in (SO_REUSEPORT) holds its port all the same."""
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(("127.0.0.1", 0))
        shared.listen()
        with pytest.raises(SettingsFault, match=f"pid {os.getpid()} "):
            check_free("127.0.0.1", shared.getsockname()[1], "gateway.port")


def test_a_foreign_address_is_refused() -> None:
    """An address that this machine does not have is no busy port."""
    with pytest.raises(SettingsFault, match=r"^gateway\.port: 192\.0\.2\.1:8088 cannot be listened on"):
        check_free("192.0.2.1", 8088, "gateway.port")
    with pytest.raises(SettingsFault, match="is no address of this machine"):
        check_free("no-such-host.invalid", 8088, "gateway.port")
