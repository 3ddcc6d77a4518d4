"""What stands after a start: each process with what it serves and no more, and what the next start need not do."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.support.site import Site
from workers.build import build_id
from workers.run import ready_file

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]


def mapped(pid: int) -> str:
    """The files that a process has in its memory."""
    return Path(f"/proc/{pid}/maps").read_text("utf-8")


async def test_only_who_computes_holds_the_libraries_for_it(site: Site) -> None:
    """torch is in the engine and where questions are embedded; the gateway and the GPU pool's worker hold none."""
    pids = site.up.supervisor.pids
    engines = [
        child for child in psutil.Process(pids["gpu"]).children() if "model_runtime.engine_process" in child.cmdline()
    ]
    assert len(engines) == 1
    held = {name: mapped(pid) for name, pid in {**pids, "engine": engines[0].pid}.items() if name != "temporal"}
    with_torch = {name for name, files in held.items() if "libtorch" in files}
    with_sklearn = {name for name, files in held.items() if "/sklearn/" in files}
    assert (with_torch, with_sklearn) == ({"dialogue", "engine"}, {"dialogue"})


async def test_workers_tell_where_their_start_went(site: Site) -> None:
    """In their ready file, each part within the whole, and whole engines among them."""
    for pool, parts in {"dialogue": {"embedding model", "intents"}, "gpu": set()}.items():
        told = json.loads(ready_file(site.layout, pool, site.up.supervisor.pids[pool]).read_text())
        assert told["steps"].keys() >= {"interpreter", "imports", "records", "Temporal", *parts}
        assert all(0 <= begin <= end <= told["seconds"] for begin, end in told["steps"].values())
        assert any(name.startswith("engine ") for name in told["steps"]) == (pool == "gpu")


async def test_what_was_worked_out_is_kept(site: Site) -> None:
    """The trained intents and the outcome of the engine's probe, for who starts next."""
    assert len(list((site.layout.cache / "intents").iterdir())) == 1
    assert len(list((site.layout.cache / "engine").iterdir())) == 1


async def test_the_history_names_the_build(site: Site) -> None:
    """Of the worker that did the task."""
    conversation = site.new()
    await site.say(conversation, "Hello!", "m1")
    history = await site.client.get_workflow_handle(conversation).fetch_history()
    completed = [event.workflow_task_completed_event_attributes for event in history.events]
    assert {each.worker_version.build_id for each in completed if each.identity} == {build_id()}
