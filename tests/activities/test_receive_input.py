"""The first step looks at the caller token before anything else."""

from __future__ import annotations

import time
from typing import Any, NoReturn

import pytest
from temporalio.testing import ActivityEnvironment

from activities.receive_input import ReceiveInputStep
from dialogue.faults import CallerRefused
from dialogue.messages import TurnKey
from dialogue.steps import ReceiveInput
from records.caller_tokens import CallerTokens

SIGNED = CallerTokens((b"k" * 32,), demanded=True)


class Believed(Exception):
    """The step went on to plan the turn."""


class Planner:
    def plan(self, _: ReceiveInput) -> NoReturn:
        raise Believed


async def received(callers: CallerTokens | None, **given: Any) -> None:
    step = ReceiveInputStep(Planner(), {}, None, callers)  # type: ignore[arg-type]
    turn = TurnKey(conversation="c", turn=1, tenant="acme")
    await ActivityEnvironment().run(step.receive_input, ReceiveInput(turn=turn, text="hi", user="ann", **given))


@pytest.mark.parametrize("callers", [None, CallerTokens()])
async def test_a_site_that_trusts_its_network_asks_for_nothing(callers: CallerTokens | None) -> None:
    """With a token or without."""
    for caller in (None, "nonsense"):
        with pytest.raises(Believed):
            await received(callers, caller=caller)


async def test_a_signed_message_goes_on() -> None:
    """It may have waited for its turn since, much longer than its token holds."""
    token = SIGNED.sign("acme", "ann", seconds=1)
    with pytest.raises(Believed):
        await received(SIGNED, caller=token)
    with pytest.raises(Believed):
        await received(SIGNED, caller=token, said_at=time.time())


@pytest.mark.parametrize("whose", [None, ("other", "ann"), ("acme", "bob")])
async def test_another_is_refused_for_good(whose: tuple[str, str] | None) -> None:
    """The fault is one that Temporal does not attempt again."""
    caller = SIGNED.sign(*whose) if whose else None
    with pytest.raises(CallerRefused):
        await received(SIGNED, caller=caller, said_at=time.time())
    assert not CallerRefused.retryable
