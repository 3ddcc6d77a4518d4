"""Each process is killed (SIGKILL) at a recorded event of a turn, with one and with several conversations under way.

Every accepted message gets exactly one reply and one audit row, the stream is whole, and nothing waits for ever.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal

import psutil
import pytest

from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("site"), pytest.mark.timeout(400)]

QUESTION = "How long do I have to send back shoes I bought online?"
EVENTS = {
    "accepted": lambda event, seen: event.kind == "accepted",
    "recognise_intent": lambda event, seen: event.data.get("step") == "recognise_intent",
    "retrieve_knowledge": lambda event, seen: event.data.get("step") == "retrieve_knowledge",
    "generate_answer": lambda event, seen: event.data.get("step") == "generate_answer",
    "first token": lambda event, seen: event.kind == "token",
    "token 10": lambda event, seen: seen >= 10,
    "review_answer": lambda event, seen: event.data.get("step") == "review_answer",
    "return_answer": lambda event, seen: event.data.get("step") == "return_answer",
}


def _engine(site: Site) -> psutil.Process:
    """The engine's own process, a child of the GPU pool's worker."""
    worker = psutil.Process(site.up.supervisor.pids["gpu"])
    return next(child for child in worker.children(recursive=True) if "engine_process" in " ".join(child.cmdline()))


async def _kill(site: Site, process: str) -> None:
    if process == "engine":
        os.kill(_engine(site).pid, signal.SIGKILL)
        return
    site.up.supervisor.kill(process)
    await site.up.supervisor.ready(process)


async def _until(site: Site, conversation: str, event_name: str) -> None:
    seen = 0
    async for event in site.token_log.follow(f"{conversation}/0001"):
        seen += event.kind == "token"
        if EVENTS[event_name](event, seen):
            return


@pytest.mark.parametrize(
    ("event", "conversations"), [*((event, 1) for event in EVENTS), ("generate_answer", 6), ("token 10", 6)]
)
@pytest.mark.parametrize("process", ["dialogue", "gpu", "engine"])
async def test_a_kill_loses_and_doubles_nothing(site: Site, process: str, event: str, conversations: int) -> None:
    """One reply, one row, one final event; ids without a gap; the text shown is the text of the logged tokens."""
    seed = random.randrange(1000)
    print(f"{process} killed at {event}, {conversations} conversations, seed {seed}")  # noqa: T201
    ids = [site.new() for _ in range(conversations)]
    said = [asyncio.create_task(site.say(each, QUESTION, "m1", say={"seed": seed + n})) for n, each in enumerate(ids)]
    await asyncio.wait_for(_until(site, ids[0], event), 120)
    await _kill(site, process)
    replies = await asyncio.wait_for(asyncio.gather(*said), 200)
    assert [reply.state for reply in replies] == ["done"] * conversations
    assert {reply.verdict for reply in replies} <= {"pass", "mask", "template"}
    for each, reply in zip(ids, replies, strict=True):
        assert len(await site.rows(each)) == 1
        events = await site.token_log.read(f"{each}/0001")
        assert [one.id for one in events] == list(range(1, len(events) + 1))
        assert [one.kind for one in events].count("final") == 1
        assert events[-1].data["answer"] == reply.answer
    assert not await site.audit.verify()
