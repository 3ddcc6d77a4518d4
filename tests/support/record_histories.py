"""Records one history of each shape into ``tests/histories/``, from a real server and the real workflow code.

    python -m tests.support.record_histories [--only NAME …] [--overwrite]

A recorded history is a promise: code that no longer replays it breaks conversations that run today. So a file that is
there is kept; a change that needs another shape adds a new name, and uses ``workflow.patched`` for the old ones.
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from dialogue.messages import CancelTurn, DialogueStart, ResolveReview, Say
from gateway.conversations import Conversations
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.support.servers import dev_server

__all__ = ["FOLDER", "SHAPES"]

FOLDER = Path(__file__).resolve().parent.parent / "histories"


class Recorder:
    """One conversation of a shape: says things in it, then closes it."""

    def __init__(self, client: Client, steps: ScriptedSteps, name: str) -> None:
        self.client, self.steps = client, steps
        self.core = Conversations(client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233")
        self.id = f"conv-{name}"
        self.start: dict[str, object] = {}
        self.runs: list[str] = []

    async def say(self, *texts: str) -> None:
        for text in texts:
            number = uuid.uuid5(uuid.NAMESPACE_OID, text).hex[:6]
            say = Say(message_id=f"m-{number}", text=text)
            await self.core.say(self.id, say, fresh=not self.runs, start=self.start)
            await self.see_run()

    async def see_run(self) -> None:
        """Notes the newest run, so that every one of a chain is recorded."""
        run_id = (await self.client.get_workflow_handle(self.id).describe()).run_id
        if run_id not in self.runs:
            self.runs.append(run_id)

    async def close(self) -> None:
        await self.core.close(self.id, "default")
        await self.see_run()
        await self.client.get_workflow_handle(self.id).result()

    async def say_and_cancel(self, text: str) -> None:
        said = asyncio.create_task(self.say(text))
        await self.steps.running.wait()
        await self.core.cancel_turn(self.id, CancelTurn(reason="the reader left"))
        await said


def _said(*texts: str) -> Callable[[Recorder], Awaitable[None]]:
    async def shape(recorder: Recorder) -> None:
        await recorder.say(*texts)
        await recorder.close()

    return shape


async def _human_resolved(recorder: Recorder) -> None:
    await recorder.say("doubtful")
    decision = ResolveReview(turn=1, decision="edit", answer="Ask the shop.", by="ann")
    await recorder.core.resolve_review(recorder.id, decision)
    await recorder.say("How long?")
    await recorder.close()


async def _human_timed_out(recorder: Recorder) -> None:
    recorder.steps.human_timeout = 0.5
    await recorder.say("doubtful", "How long?")
    await recorder.close()


async def _cancelled(recorder: Recorder) -> None:
    await recorder.say_and_cancel("slow")
    await recorder.close()


async def _workflow_cancelled(recorder: Recorder) -> None:
    said = asyncio.create_task(recorder.say("slow"))
    await recorder.steps.running.wait()
    handle = recorder.client.get_workflow_handle(recorder.id)
    await handle.cancel()
    await said
    await asyncio.gather(handle.result(), return_exceptions=True)


async def _continued(recorder: Recorder) -> None:
    recorder.start = {"turns_per_run": 2}
    await recorder.say("How long?", "And in a shop?", "And for gifts?", "How long?")
    await recorder.close()


async def _idle(recorder: Recorder) -> None:
    recorder.start = {"idle_timeout": 1.0}
    await recorder.say("How long?")
    await recorder.client.get_workflow_handle(recorder.id).result()


async def _reopened(recorder: Recorder) -> None:
    await recorder.say("How long?")
    await recorder.close()
    await recorder.say("And now?", "How long?")
    await recorder.close()


async def _dialogue(recorder: Recorder) -> None:
    await recorder.core.ask(DialogueStart(question="How long?"), dialogue=recorder.id)


async def _dialogue_refused_start(recorder: Recorder) -> None:
    handle: WorkflowHandle[object, object] = await recorder.client.start_workflow(
        "DialogueWorkflow", {"colour": "red"}, id=recorder.id, task_queue=recorder.steps.queue
    )
    await asyncio.gather(handle.result(), return_exceptions=True)


SHAPES: dict[str, Callable[[Recorder], Awaitable[None]]] = {
    "normal": _said("How long?", "And in a shop?"),
    "attempted-again": _said("flaky: how long?"),
    "refused": _said("please refuse this"),
    "template": _said("a greeting", "the weather"),
    "generated-without-knowledge": _said("let us chat"),
    "blocked": _said("block this"),
    "rung-repetition": _said("repeat yourself"),
    "rung-out-of-memory": _said("memory is short"),
    "rung-empty-then-fallback": _said("nothing comes"),
    "rung-language-unknown": _said("退货要多少天？"),
    "rung-failed-review": _said("bad answer first"),
    "rung-quoted-after-review": _said("the worst question"),
    "failed": _said("corrupt weights", "broken for ever"),
    "human-resolved": _human_resolved,
    "human-timed-out": _human_timed_out,
    "cancelled": _cancelled,
    "workflow-cancelled": _workflow_cancelled,
    "continued-as-new": _continued,
    "idle-closed": _idle,
    "reopened": _reopened,
    "dialogue": _dialogue,
    "dialogue-refused-start": _dialogue_refused_start,
}


async def _record(environment: WorkflowEnvironment, name: str) -> None:
    steps = ScriptedSteps(f"histories-{name}")
    async with scripted_worker(environment.client, steps):
        recorder = Recorder(environment.client, steps, name)
        await SHAPES[name](recorder)
        await recorder.see_run()
        runs = recorder.runs
        for number, run_id in enumerate(runs, start=1):
            handle = environment.client.get_workflow_handle(recorder.id, run_id=run_id)
            history = await handle.fetch_history()
            suffix = f".{number}" if len(runs) > 1 else ""
            (FOLDER / f"{name}{suffix}.json").write_text(history.to_json() + "\n")
        print(f"{name}: {len(runs)} runs")  # noqa: T201


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    async with await dev_server() as environment:
        for name in options.only:
            if options.overwrite or not list(FOLDER.glob(f"{name}.*json")):
                await _record(environment, name)


if __name__ == "__main__":
    asyncio.run(main())
