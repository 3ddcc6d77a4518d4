"""Replays one history with the workflow code of another checkout: ``python -m replay.other_code CHECKOUT``.

In a process of its own, whose packages are all the checkout's but for this one. The history comes as protobuf on
standard input; what the Replayer said and what the commands brought goes as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["replayed_with"]

_ROOT = Path(__file__).resolve().parent.parent
_NEEDED = ("workflows", "dialogue", "records")


def replayed_with(checkout: Path, workflow_id: str, packed: bytes) -> dict[str, Any]:
    """``failure``, ``found`` and ``unknown``. Raises InvalidRequest where the folder is no checkout, or its code cannot
    be loaded."""
    from dialogue.faults import InvalidRequest

    missing = [name for name in _NEEDED if not (checkout / name).is_dir()]
    if missing:
        raise InvalidRequest(f"code: {checkout} has no {missing[0]}/. Name a checkout of Parley.", field="code")
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "replay.other_code", str(checkout.resolve()), workflow_id]
    ended = subprocess.run(command, input=packed, env=environment, capture_output=True, check=False)
    try:
        return json.loads(ended.stdout)
    except ValueError:
        lines = ended.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise InvalidRequest(f"code: {checkout} cannot be loaded: {lines[-1][:200]}", field="code") from None


class _Theirs(importlib.machinery.PathFinder):
    """Every package of the checkout is taken from there, but for ``replay``."""

    folder = ""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if path is not None or fullname == "replay" or not (Path(cls.folder) / fullname).is_dir():
            return None
        return super().find_spec(fullname, [cls.folder], target)


def main(checkout: str, workflow_id: str) -> None:
    _Theirs.folder = checkout
    sys.meta_path.insert(0, _Theirs)
    from temporalio.api.history.v1 import History

    from replay.replayer import replayed

    events = tuple(History.FromString(sys.stdin.buffer.read()).events)
    failure, check = asyncio.run(replayed(workflow_id, events))
    found = [each.model_dump() for each in check.found]
    sys.stdout.write(json.dumps({"failure": failure, "found": found, "unknown": sorted(check.unknown)}))
    sys.stdout.flush()
    os._exit(0)  # threads of Temporal's core may crash an interpreter that is taken down


if __name__ == "__main__":
    main(*sys.argv[1:])
