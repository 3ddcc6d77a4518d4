"""The times that have to fit into one another, so that a fault is told before a step's time is up."""

from __future__ import annotations

import pytest

from dialogue.plan import RetryPlan
from records.database import BUSY_SECONDS
from records.token_log_file import BUSY_SECONDS as TOKEN_LOG_SECONDS
from settings.load import load
from settings.schema import Settings
from tests.support.site import REPOSITORY
from workflows.conversation_workflow import RECALL_TIMEOUT
from workflows.steps import FIRST_STEP, LAST_STEP


@pytest.fixture(params=["built in", "temporal.yaml"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings() if request.param == "built in" else load(REPOSITORY / "temporal.yaml")


def test_a_locked_database_is_told_within_the_time_of_a_step(settings: Settings) -> None:
    """The wait for a connection, for the lock and for the token log end before whatever step meets them."""
    longest = 2 * BUSY_SECONDS + TOKEN_LOG_SECONDS
    steps = [step.start_to_close for step in settings.steps.values()]
    assert longest < min(*steps, LAST_STEP.start_to_close, RECALL_TIMEOUT.total_seconds())
    assert FIRST_STEP.start_to_close / 2 > TOKEN_LOG_SECONDS  # it keeps nothing but events


def test_a_turn_waits_half_a_minute_for_an_index(settings: Settings) -> None:
    """Long enough for a folder to be swapped, short enough for whoever asked."""
    retry = settings.steps["retrieve_knowledge"].retry
    assert 20 < _waiting(retry) < 40


def _waiting(retry: RetryPlan) -> float:
    """Seconds between the first attempt and the last, as Temporal waits."""
    pauses, pause = 0.0, retry.initial_interval
    for _ in range(retry.maximum_attempts - 1):
        pauses += min(pause, retry.maximum_interval)
        pause *= retry.backoff_coefficient
    return pauses
