"""Records one history of each shape into ``tests/histories/``, from a real server and the real workflow code.

    python -m tests.support.record_histories [--only NAME …] [--overwrite]

A recorded history is a promise: code that no longer replays it breaks conversations that run today. So a file that is
there is kept; a change that needs another shape adds a new name, and uses ``workflow.patched`` for the old ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from tests.support.history_shapes import SHAPES, Recorder
from tests.support.scripted_faults import ScriptedFaults
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.support.servers import dev_server

__all__ = ["FOLDER"]

FOLDER = Path(__file__).resolve().parent.parent / "histories"


async def _record(environment: WorkflowEnvironment, name: str) -> None:
    steps = ScriptedSteps(f"histories-{name}")
    faults = ScriptedFaults()
    async with scripted_worker(environment.client, steps, interceptors=[faults]):
        recorder = Recorder(environment.client, steps, faults, name)
        await SHAPES[name](recorder)
        await recorder.see_run()
        runs = recorder.runs
        for number, run_id in enumerate(runs, start=1):
            handle = environment.client.get_workflow_handle(recorder.id, run_id=run_id)
            history = await handle.fetch_history()
            suffix = f".{number}" if len(runs) > 1 else ""
            (FOLDER / f"{name}{suffix}.json").write_text(
                json.dumps(_anywhere(json.loads(history.to_json())), indent=2) + "\n"
            )
        print(f"{name}: {len(runs)} runs")  # noqa: T201


def _anywhere(value: Any) -> Any:
    """A history's JSON without what speaks of the machine it was recorded on."""
    if isinstance(value, list):
        return [_anywhere(each) for each in value]
    if isinstance(value, dict):
        said = {"stackTrace": "", "identity": "recorder"}
        return {name: said.get(name, _anywhere(each)) for name, each in value.items()}
    return value


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    async with await dev_server(strict=True) as environment:
        for name in options.only:
            if options.overwrite or not list(FOLDER.glob(f"{name}.*json")):
                await _record(environment, name)


if __name__ == "__main__":
    asyncio.run(main())
