"""Ports for the servers that tests start, and that nothing else takes before they do."""

from __future__ import annotations

import random
import socket
from pathlib import Path

__all__ = ["free_port"]

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OURS = range(10_000, 60_000)
_claims: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other test gets while this process lives.

    None of those that the system hands out by itself, where it leaves any: a connection, or a server beside that asks
    for any free port (Temporal's development server asks five times), would take it before the server it is meant for
    has started.
    """
    given_out = _given_out()
    ports = [port for port in _OURS if port not in given_out] or _OURS
    while True:
        port = random.choice(ports)
        if _claimed(port) and _can_be_listened_on(port):
            return port


def _given_out() -> range:
    first, last = _RANGE.read_text().split()
    return range(int(first), int(last) + 1)


def _claimed(port: int) -> bool:
    """Whether it is this process's now. By a name that the system keeps as long as its socket is open."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0parley-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _can_be_listened_on(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1)
        except OSError:
            return False
    return True
