"""What must hold of every accepted message, whatever was killed while it was answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType

from tests.faults.caller import Said
from tests.faults.fault_site import FaultSite

__all__ = ["Found", "look_at"]


@dataclass(slots=True)
class Found:
    """``lost`` and ``doubled`` count messages; ``wrong`` says what is not as it must be, a line each."""

    lost: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def note(self, said: Said, wrong: list[str], *, lost: bool, doubled: bool) -> None:
        self.lost += lost
        self.doubled += doubled
        self.wrong += [f"{said.stream} {said.text!r} seed {said.seed}: {line}" for line in wrong]


async def look_at(faults: FaultSite, said: list[Said]) -> Found:
    """Sends every message once more, then compares replies, rows, streams and histories."""
    found = Found()
    await asyncio.gather(*(faults.caller.say(each) for each in said))
    await asyncio.gather(*(_one(faults, each, found) for each in said))
    found.wrong += [f"audit: {problem}" for problem in await faults.site.audit.verify()]
    return found


async def _one(faults: FaultSite, said: Said, found: Found) -> None:
    rows = [row for row in await faults.site.rows(said.conversation) if row.message_id == said.message_id]
    wrong = [f"{len(rows)} audit rows"] if len(rows) != 1 else []
    differing = [answer for answer in said.answers if answer != said.reply]
    if differing:
        wrong.append(f"{len(said.answers)} replies, of which {len(differing)} differ from the first")
    if rows and rows[0].output_text != said.reply["answer"]:
        wrong.append("the row holds another answer than the reply")
    expected = faults.answers.get((said.text, said.seed))
    if expected is not None and said.reply["answer"] != expected:
        wrong.append(f"answered {said.reply['answer']!r}, undisturbed {expected!r}")
    stream = await _stream(faults, said)
    failed = await _failed_tasks(faults, said)
    doubled = len(rows) > 1 or bool(differing) or any("twice" in line for line in stream)
    found.note(said, [*wrong, *stream, *failed], lost=not rows or not said.answers, doubled=doubled)


async def _stream(faults: FaultSite, said: Said) -> list[str]:
    """Ids without a gap, one final event with the reply, the text of the logged tokens once and whole."""
    events, tokens = await faults.stream(said)
    wrong = []
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        wrong.append("the event ids have a gap")
    kinds = Counter(event.kind for event in events)
    if kinds["final"] != 1 or events[-1].kind != "final":
        wrong.append(f"{kinds['final']} final events" + (" (twice)" if kinds["final"] > 1 else ""))
    elif events[-1].data["answer"] != said.reply["answer"]:
        wrong.append("the final event holds another answer than the reply")
    if kinds["accepted"] != 1:
        wrong.append(f"{kinds['accepted']} accepted events")
    shown = "".join(event.data["text"] for event in events if event.kind == "token")
    detokenizer = faults.tokenizer.detokenizer()
    logged = detokenizer.feed(tokens) + detokenizer.flush()
    if shown != logged:
        twice = " (twice)" if len(shown) > len(logged) else ""
        wrong.append(f"shown {shown!r} of the tokens {logged!r}{twice}")
    if len(tokens) != said.reply["usage"]["completion_tokens"]:
        wrong.append(f"{len(tokens)} tokens logged, {said.reply['usage']['completion_tokens']} counted")
    return wrong


async def _failed_tasks(faults: FaultSite, said: Said) -> list[str]:
    """A workflow task that failed is a fault of the workflow, however often it is tried again."""
    handle = faults.site.client.get_workflow_handle(said.conversation)
    return [
        f"a workflow task failed: {event.workflow_task_failed_event_attributes.failure.message}"
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]
