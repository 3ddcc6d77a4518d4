"""Steady traffic: people who say the next message as soon as the one before is answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.faults.caller import Said
from tests.faults.fault_site import QUESTIONS, FaultSite

__all__ = ["Traffic", "traffic"]

TURNS = 3
"""Messages in one conversation, before the next is opened."""
FIRST_SEED = 1000
"""Seeds of nothing else: an answer in a conversation depends on what was said before."""


@dataclass(slots=True)
class Traffic:
    """``said`` is every message so far, answered or under way."""

    said: list[Said] = field(default_factory=list[Said])
    ending: bool = False
    _answered: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def talk(self, faults: FaultSite, number: int) -> None:
        """One person, until told to end."""
        for count in range(1_000_000):
            if count % TURNS == 0:
                conversation = faults.site.new()
            question = QUESTIONS[(number + count) % len(QUESTIONS)]
            said = Said(conversation, question, FIRST_SEED + count, turn=count % TURNS + 1)
            self.said.append(said)
            await faults.caller.say(said)
            async with self._answered:
                self._answered.notify_all()
            if self.ending:
                return

    async def more(self, count: int) -> None:
        """Until so many more messages are answered."""
        goal = self.answered + count
        async with self._answered:
            await self._answered.wait_for(lambda: self.answered >= goal)

    @property
    def answered(self) -> int:
        return sum(bool(each.answers) for each in self.said)


@contextlib.asynccontextmanager
async def traffic(faults: FaultSite, people: int, seconds: float) -> AsyncIterator[Traffic]:
    """``people`` talk at once; leaving waits until the last message is answered, ``seconds`` at most."""
    going = Traffic()
    talking = [asyncio.create_task(going.talk(faults, number)) for number in range(people)]
    try:
        yield going
        going.ending = True
        await asyncio.wait_for(asyncio.gather(*talking), seconds)
    finally:
        for task in talking:
            task.cancel()
