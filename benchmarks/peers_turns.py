"""Tokens a second of conversations through a whole site, against its engine alone asked for the same answers.

Every conversation waits for its answer and then asks on. What the site's engine made stands in the try records: their
prompts and sampling are then given to an engine of the same settings, as many in flight as there were conversations.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select

from model_runtime.engine_client import ProcessEngine
from model_runtime.protocol import GenerationRequest, Sampling
from records.content import ContentStore
from records.database import connect_database, reading
from records.tables import contents
from settings.answering import ModelSettings
from tests.support.site import REPOSITORY, Site, bring_up_site, model_cache

__all__ = ["measure"]

_Try = dict[str, Any]
"""A try's record, as the activity keeps it for an exact rerun."""


async def measure(*, quick: bool = False) -> dict[str, Any]:
    """``to_engine``: the site's tokens a second over those of its engine alone, with the settings that it has in the
    site; ``to_engine_with_all_cores``: over an engine whose threads have every core."""
    conversations, turns = (2, 1) if quick else (8, 3)
    with tempfile.TemporaryDirectory() as folder:
        async with bring_up_site(Path(folder)) as site:
            seconds, first, tries = await _converse(site, conversations, turns)
            model = site.settings.model
    warming = [request for number, one in enumerate(first) for request in _requests(f"first-{number}", one)]
    requests = [request for number, one in enumerate(tries) for request in _requests(f"alone-{number}", one)]
    made = sum(len(one["output_ids"]) for each in tries for one in each["candidates"])
    asked = (warming, requests)
    alone = await _alone(model, None, *asked, conversations)
    all_cores = await _alone(model, len(os.sched_getaffinity(0)), *asked, conversations)
    return {
        "conversations": conversations,
        "turns_each": turns,
        "quantization": model.quantization,
        "rows": model.rows,
        "answers": len(requests),
        "tokens": made,
        "tokens_per_second": round(made / seconds, 1),
        "engine_tokens_per_second": round(alone, 1),
        "engine_with_all_cores_tokens_per_second": round(all_cores, 1),
        "to_engine": round(made / seconds / alone, 2),
        "to_engine_with_all_cores": round(made / seconds / all_cores, 2),
    }


async def _converse(site: Site, conversations: int, turns: int) -> tuple[float, list[_Try], list[_Try]]:
    """Seconds from the first question to the last answer, the tries before them, and all tries between."""
    file = REPOSITORY / "examples" / "help" / "questions.yaml"
    asked = [one["question"] for one in yaml.safe_load(file.read_text("utf-8"))["questions"] if one["lang"] == "en"]
    await site.say(site.new(), asked[-1], "m0")  # so that every step has run once
    names = [site.new() for _ in range(conversations)]

    async def converse(number: int, name: str) -> None:
        for turn in range(turns):
            await site.say(name, asked[(number + turn * conversations) % len(asked)], f"m{turn}")

    began = time.perf_counter()
    await asyncio.gather(*(converse(number, name) for number, name in enumerate(names)))
    seconds = time.perf_counter() - began
    sides: dict[bool, list[_Try]] = {False: [], True: []}
    for record in await _tries(site):
        sides[record["turn"]["conversation"] in names].append(record)
    return seconds, sides[False], sides[True]


async def _tries(site: Site) -> list[_Try]:
    """In the order in which they ended."""
    database = connect_database(site.layout.database_url(site.settings.records.database))
    try:
        store = ContentStore(database)
        async with reading(database) as connection:
            rows = select(contents.c.digest).where(contents.c.kind == "try").order_by(contents.c.timestamp)
            digests = list(await connection.scalars(rows))
        return [json.loads(await store.get(digest)) for digest in digests]
    finally:
        await database.dispose()


def _requests(name: str, record: _Try) -> list[GenerationRequest]:
    def one(index: int, candidate: dict[str, Any]) -> GenerationRequest:
        given = {
            name: tuple(value) if isinstance(value, list) else value for name, value in candidate["sampling"].items()
        }
        return GenerationRequest(f"{name}-{index}", tuple(record["prompt_ids"]), sampling=Sampling(**given))

    return [one(index, candidate) for index, candidate in enumerate(record["candidates"])]


async def _alone(
    model: ModelSettings,
    threads: int | None,
    warming: Sequence[GenerationRequest],
    requests: Sequence[GenerationRequest],
    flight: int,
) -> float:
    """Tokens a second of ``requests``; ``warming`` come before, as in the site."""
    folder = model_cache() / f"{model.name}-{model.quantization}"
    engine = ProcessEngine(folder, rows=model.rows, widths=model.widths, threads=threads or model.threads)

    async def caller(left: Iterator[GenerationRequest]) -> int:
        return sum([len(event.token_ids) for request in left async for event in engine.submit(request)])

    try:
        await engine.start()
        await caller(iter(warming))
        left, began = iter(requests), time.perf_counter()
        made = await asyncio.gather(*(caller(left) for _ in range(flight)))
        return sum(made) / (time.perf_counter() - began)
    finally:
        await engine.close()
