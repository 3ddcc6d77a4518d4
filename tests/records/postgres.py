"""A real PostgreSQL of its own, out of Debian's package, in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

__all__ = ["binaries", "postgres"]


def binaries() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def _as_user() -> dict[str, Any]:
    """``subprocess`` arguments: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Its URL without a database's name. Stopped, by its pid, and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="parley-postgres-"))
    user = _as_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", "parley", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    try:
        subprocess.run(initdb, check=True, cwd=folder, capture_output=True, env={"LC_ALL": "C"}, **user)
        port = free_port()
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        options |= {"fsync": "off", "max_connections": 150, "shared_buffers": "16MB"}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={"LC_ALL": "C"}, **user,
        )  # fmt: skip
        with _reading_its_log(server):
            yield f"postgresql+asyncpg://parley@127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _reading_its_log(server: subprocess.Popen[str]) -> Iterator[None]:
    """From when it is ready until it was stopped. The log is read to its end, or the server would wait for that."""
    log: list[str] = []
    answered = threading.Event()

    def read() -> None:
        assert server.stderr is not None
        with server.stderr:
            for line in server.stderr:
                log.append(line)
                if "ready to accept connections" in line:
                    answered.set()
        answered.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        answered.wait(60)
        if server.poll() is not None or not answered.is_set():
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(log))
        yield
    finally:
        server.send_signal(signal.SIGINT)  # fast: connections are ended, not waited for
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        reader.join()
