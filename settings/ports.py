"""Finds free ports, and says who holds a busy one."""

from __future__ import annotations

import errno
import socket
from typing import Any

import psutil

from dialogue.faults import SettingsFault

__all__ = ["check_free", "free_port"]

_SHOWN = 80


def check_free(host: str, port: int, setting: str) -> None:
    """Raises SettingsFault, naming the process that has it, where ``host:port`` cannot be listened on.

    ``setting`` is the dotted name under which another port can be chosen. Port 0 is always free.
    """
    if port == 0:
        return
    try:
        _bind(host, port).close()
    except socket.gaierror as error:
        raise SettingsFault(f"{setting}: {host} is no address of this machine ({error.strerror}).") from error
    except PermissionError as error:
        raise SettingsFault(
            f"{setting}: port {port} may not be opened by this user. Set one above 1023.", field=setting
        ) from error
    except OSError as error:
        holder = _holder(port)
        if holder is None and not _in_use(error):
            raise SettingsFault(f"{setting}: {host}:{port} cannot be listened on ({error.strerror}).") from error
        who = holder or "a process that cannot be seen from here"
        raise SettingsFault(f"port {port} is taken by {who}. Stop it or set {setting}.", field=setting) from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with _bind(host, 0) as bound:
        return int(bound.getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # as every server does: a connection that is closing for good does not hold the port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1)
    except BaseException:
        bound.close()
        raise
    return bound


def _in_use(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _holder(port: int) -> str | None:
    """``pid 4211 (python -m http.server)``, where this user may see it."""
    try:
        connections: list[Any] = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return f"pid {connection.pid} ({_command(connection.pid)})"
    return None


def _command(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return "its command cannot be seen"
    return command if len(command) <= _SHOWN else f"{command[: _SHOWN - 1]}…"
