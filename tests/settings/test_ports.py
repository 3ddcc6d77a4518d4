"""A busy port is named with the process that has it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dialogue.faults import SettingsFault
from settings.ports import check_free, free_port
from tests.support import ports

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


def test_a_port_of_the_tests_is_no_connection_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system hands it out to nobody; where it would hand out all of them, the tests take theirs all the same."""
    system = tmp_path / "ip_local_port_range"
    monkeypatch.setattr(ports, "_RANGE", system)
    system.write_text("32768\t60999\n")
    assert all(ports.free_port() < 32_768 for _ in range(8))
    system.write_text("1024\t65535\n")
    assert ports.free_port() in ports._OURS


def test_a_port_of_the_tests_is_no_other_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to no two servers, in whatever process the tests start them."""
    mine = [ports.free_port() for _ in range(3)]
    ports._claims.pop().close()
    program = f"from tests.support import ports; print([each for each in {mine} if ports._claimed(each)])"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout == f"[{mine[-1]}]\n"
    monkeypatch.setattr(ports, "_OURS", mine)
    assert ports.free_port() == mine[-1]
