"""A real Redis of its own, out of Debian's package, on a free port and in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.ports import free_port

__all__ = ["RedisServer", "redis_server"]


class RedisServer:
    """Its process, which may be killed and started again on the same port with what it had written."""

    def __init__(self, program: str, folder: Path, options: Sequence[str], tls_options: Sequence[str]) -> None:
        port = str(free_port())
        self.url = f"{'rediss' if tls_options else 'redis'}://127.0.0.1:{port}/0"
        listen = ("--port", "0", "--tls-port", port, *tls_options) if tls_options else ("--port", port)
        # What was answered was written before; it is not synced, as nobody cuts the power here.
        kept = ("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "no", "--save", "")
        self._command = [program, "--bind", "127.0.0.1", *listen, *kept, *options]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._said: list[str] = []
        self._grown = threading.Condition()

    def start(self) -> None:
        """Until it has read what it had written, and answers."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._said = []
        # Its log is read to the end, or it would wait for that.
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        self.wait_for("Ready to accept connections")

    def wait_for(self, words: str) -> None:
        """Until its log says so."""

        def is_said() -> bool:
            return self._said[-1:] == [""] or any(words in line for line in self._said)

        with self._grown:
            self._grown.wait_for(is_said, 60)
            log = "".join(self._said)
        if words not in log:
            self.stop()
            raise RuntimeError(f"Redis never said {words!r}:\n{log}")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        for each in (number, signal.SIGCONT):  # one that sleeps does not hear SIGTERM
            self._process.send_signal(each)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        """An empty line at its end."""
        assert process.stdout is not None
        with process.stdout:
            while True:
                line = process.stdout.readline()
                with self._grown:
                    self._said.append(line)
                    self._grown.notify_all()
                if not line:
                    return


@contextlib.contextmanager
def redis_server(*options: str, tls_options: Sequence[str] = ()) -> Iterator[RedisServer]:
    """Started; stopped, by its pid, and removed at the end. Where there is none the test is skipped, but not in CI."""
    program = shutil.which("redis-server")
    if program is None:
        why = "Redis is not on this machine: apt-get install redis-server"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="parley-redis-"))
    server = RedisServer(program, folder, options, tls_options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
