"""A real nginx of its own, out of Debian's package, on a free port and in a folder that is thrown away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.served import listening

__all__ = ["nginx_server"]

_KINDS = ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
SECONDS = 10.0


@contextlib.asynccontextmanager
async def nginx_server(text: str, *, gateway: int) -> AsyncIterator[int]:
    """Gives the port. ``text`` is what stands within ``http``, with port 80 for its own and 8088 for the gateway's.

    Where there is no nginx the test is skipped, but not in CI.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if program is None:
        why = "nginx is not on this machine: apt-get install nginx-light"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    folder, port = Path(tempfile.mkdtemp(prefix="parley-nginx-")), free_port()
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    (folder / "nginx.conf").write_text(_whole(text, port, gateway, folder), "utf-8")
    try:
        checking = await asyncio.create_subprocess_exec(*command, "-t", "-q")
        assert await checking.wait() == 0, "what is wrong with the configuration stands in the test's output"
        running = await asyncio.create_subprocess_exec(*command)
        try:
            await listening(port)
            yield port
        finally:
            running.terminate()
            await asyncio.wait_for(running.wait(), SECONDS)
    finally:
        shutil.rmtree(folder)


def _whole(text: str, port: int, gateway: int, folder: Path) -> str:
    """One process, which keeps nothing outside of ``folder``."""
    assert text.count("listen 80;") == text.count("127.0.0.1:8088") == 1
    own = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("127.0.0.1:8088", f"127.0.0.1:{gateway}")
    temporary = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in _KINDS)
    around = f"daemon off;\nmaster_process off;\npid {folder / 'pid'};\nevents {{}}\n"
    return f"{around}http {{\naccess_log off;\n{temporary}{own}\n}}\n"
