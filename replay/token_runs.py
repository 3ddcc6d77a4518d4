"""Runs recorded generations again on the site's own engine, model by model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from dialogue.faults import ContentMissing, ParleyFault
from model_runtime.protocol import Engine
from replay.evidence import Evidence
from replay.tokens import TokenExact, promise, token_exact
from replay.try_record import TryRecord
from replay.turns import Turn
from workers.engines import Engines
from workers.timeline import Timeline

__all__ = ["Beforehand", "site_engine", "verify_tokens"]

Beforehand = Callable[[int, int, tuple[str, ...]], None]
"""Called before a try is run again: its turn, its number, and why the engine cannot promise the same tokens."""


@asynccontextmanager
async def site_engine(evidence: Evidence, model_digest: str) -> AsyncIterator[Engine]:
    """An engine of the site's own kind, with exactly these weights. Raises ModelMissing and what its start raises."""
    model = evidence.model(model_digest).model_copy(update={"task_queue": None})
    settings = evidence.settings.model_copy(update={"model": model, "models": {}})
    async with AsyncExitStack() as stack:
        engines = Engines(settings, stack, Timeline())
        keeper = await engines.ready(model.name)
        yield await keeper.ready()


async def verify_tokens(evidence: Evidence, turns: Sequence[Turn], beforehand: Beforehand) -> list[TokenExact]:
    """Every try of these turns that a model made, in their order. What cannot be checked says why."""
    tries: dict[str, list[tuple[int, int, TryRecord]]] = {}
    found: list[TokenExact] = []
    for turn in turns:
        for step in turn.of("generate_answer"):
            draft = step.generated
            if draft is None:
                continue
            told = {"turn": turn.turn, "try_number": step.try_number}
            try:
                if not draft.record:
                    raise ContentMissing("record: none was kept of this try.")
                record = await evidence.try_record(draft.record)
            except ParleyFault as fault:
                found.append(TokenExact.model_validate({**told, "state": "unchecked", "why": fault.message}))
                continue
            tries.setdefault(draft.model_digest, []).append((turn.turn, step.try_number, record))
    for digest, wanted in tries.items():
        found += await _on_one_model(evidence, digest, wanted, beforehand)
    return sorted(found, key=lambda each: (each.turn, each.try_number, each.candidate))


async def _on_one_model(
    evidence: Evidence, digest: str, wanted: Sequence[tuple[int, int, TryRecord]], beforehand: Beforehand
) -> list[TokenExact]:
    found: list[TokenExact] = []
    try:
        tokenizer = await evidence.tokenizer(digest)
        async with site_engine(evidence, digest) as engine:
            today = await engine.describe()
            for turn, try_number, record in wanted:
                beforehand(turn, try_number, promise(record, today))
                found += await token_exact(engine, tokenizer, record, turn=turn, try_number=try_number)
    except ParleyFault as fault:
        done = {(each.turn, each.try_number) for each in found}
        found += [
            TokenExact(turn=turn, try_number=number, state="unchecked", tokens=0, why=fault.message)
            for turn, number, _ in wanted
            if (turn, number) not in done
        ]
    return found
