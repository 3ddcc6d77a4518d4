"""A server that speaks S3, on a free port: rclone's, out of its wheel, over a folder."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import executable

__all__ = ["ACCESS_KEY", "SECRET_KEY", "s3_server"]

ACCESS_KEY, SECRET_KEY = "parley", "not-a-secret"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Its address; a folder below ``folder`` is a bucket."""
    process = subprocess.Popen(
        [
            executable("rclone"), "serve", "s3", str(folder), "--addr", "127.0.0.1:0", "--auth-key",
            f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    rest = None
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            raise RuntimeError(f"rclone did not start: exit code {process.wait()}")
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # it must not block on a full pipe
        rest.start()
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)
        if rest is not None:
            rest.join(10)
        process.stderr.close()
