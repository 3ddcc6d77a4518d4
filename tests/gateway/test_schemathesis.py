"""The gateway answers as its OpenAPI document says, whatever it is sent: data made from the document itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks, openapi
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.openapi import document
from records.database import migrate
from settings.layout import Layout
from tests.gateway.conftest import Front

BASE = "http://gateway"
QUICK, LONG = 6, 40
"""Examples of each operation and mode."""
ANSWERED_RIGHT = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = {
    GenerationMode.POSITIVE: ANSWERED_RIGHT,
    GenerationMode.NEGATIVE: [*ANSWERED_RIGHT, negative_data_rejection],
}
DOCUMENT = openapi.from_dict(document())
OPERATIONS: dict[str, APIOperation] = {found.ok().label: found.ok() for found in DOCUMENT.get_all_operations()}


@dataclass
class Known:
    """A front, and what is there to be asked of: ``names`` are values that the document cannot know, by field."""

    front: Front
    names: dict[str, str]

    def meant(self, fields: dict[str, Any]) -> dict[str, Any]:
        """``fields`` with the names that lead to something, so that a request gets further than a 404."""
        return {name: self.names.get(name, value) for name, value in fields.items()}

    async def send(self, case: Case) -> httpx.Response:
        wire = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        body = wire.body.encode() if isinstance(wire.body, str) else wire.body
        return await self.front.http.request(wire.method, wire.url, headers=dict(wire.headers), content=body)


@pytest.fixture
async def known(front: Front) -> Known:
    await migrate(Layout.of(front.settings).database_url("sqlite"))  # as a worker does
    conversation = front.new()
    await front.post(conversation=conversation)
    # waited for, so that no test ends while its steps still run
    dialogue = await front.http.post("/v1/dialogues", json={"messages": [{"role": "user", "content": "x"}], "wait": 60})
    names = {"tenant": "default", "model": "default", "conversation": conversation}
    return Known(front, {**names, "dialogue": dialogue.json()["dialogue"]})


async def _hold(known: Known, label: str, mode: GenerationMode, examples: int) -> None:
    """Hypothesis is no coroutine, so it runs in a thread and the requests in the loop that Temporal's client is of."""
    loop, operation = asyncio.get_running_loop(), OPERATIONS[label]

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode), leads=st.booleans())
    def holds(case: Case, leads: bool) -> None:
        if leads and mode is GenerationMode.POSITIVE:
            case.path_parameters = known.meant(case.path_parameters or {})
            case.query = known.meant(case.query or {})
            case.body = known.meant(case.body) if isinstance(case.body, dict) else case.body
        answer = asyncio.run_coroutine_threadsafe(known.send(case), loop).result(120)
        case.validate_response(answer, checks=MODES[mode])

    await asyncio.to_thread(holds)


SLOW = "GET /v1/reviews"
"""Asks each conversation that waits for a person, those of other tests too, which nobody serves any more."""


def _each_operation(examples: int, *marks: pytest.MarkDecorator) -> list[Any]:
    return [
        pytest.param(
            *(label, mode, examples),
            id=f"{label} {mode.value} {examples}",
            marks=(*marks, pytest.mark.full) if label == SLOW else marks,
        )
        for label, operation in OPERATIONS.items()
        for mode in MODES
        if mode is GenerationMode.POSITIVE or operation.body or operation.query
    ]


@pytest.mark.parametrize(
    ("label", "mode", "examples"),
    [*_each_operation(QUICK), *_each_operation(LONG, pytest.mark.full)],
)
async def test_answers_are_as_documented(known: Known, label: str, mode: GenerationMode, examples: int) -> None:
    """No 5xx; no status, content type, header or body that the document has not; wrong data is refused."""
    await _hold(known, label, mode, examples)
