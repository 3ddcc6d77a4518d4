"""What the settings say of a tenant is in the plan of each of its turns."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from activities.return_answer import ReturnAnswerStep
from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.messages import TurnKey
from dialogue.plan import ModelPlan
from dialogue.steps import ReceiveInput, ReturnAnswer
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import WordList
from records.audit import AuditLog
from records.database import connect_database
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import SERVICES, AccessSettings, GatewaySettings, PoolSettings, Settings, TenantSettings

_MODEL = ModelPlan(alias="default", name="m", digest="0" * 64, task_queue="q", languages=("en",), context=1024)


@pytest.mark.parametrize(("tenant", "priority"), [("default", 3), ("first", 1)])
def test_a_tenants_priority_is_planned(tenant: str, priority: int) -> None:
    """Its own, or the middle."""
    settings = Settings(
        pools={"all": PoolSettings(serves=SERVICES)},
        tenants={"default": TenantSettings(), "first": TenantSettings(priority=1)},
    )
    planner = TurnPlanner(settings, {"default": Policy(PolicyRules(), WordList([]))}, {"default": _MODEL})
    said = ReceiveInput(turn=TurnKey(conversation="c", turn=1, tenant=tenant), message_id="m", text="Hi", user="ann")
    assert planner.plan(said).priority == priority


async def test_the_output_template_is_planned(tmp_path: Path) -> None:
    """A turn is answered in the template that it began with, whatever the settings say by then; one that was planned
    before there was any in plans, by the settings."""
    settings = Settings(
        pools={"all": PoolSettings(serves=SERVICES)},
        tenants={"default": TenantSettings(template={"en": "{answer} -- Acme"})},
    )
    planner = TurnPlanner(settings, {"default": Policy(PolicyRules(), WordList([]))}, {"default": _MODEL})
    said = ReceiveInput(turn=TurnKey(conversation="c", turn=1, tenant="default"), message_id="m", text="Hi", user="ann")
    assert planner.plan(said).template == {"en": "{answer} -- Acme"}
    events = StreamEvents(SqliteTokenLog(tmp_path / "log.db"))
    step = ReturnAnswerStep(planner, AuditLog(connect_database(f"sqlite+aiosqlite:///{tmp_path / 'r.db'}")), events)
    for template, reply in (
        (None, "{30} days -- Acme"),
        ("Dear Ann, {answer}", "Dear Ann, {30} days"),
        ("{answer}", "{30} days"),
    ):
        request = ReturnAnswer(
            turn=said.turn, user="ann", message_id="m", question="Hi", question_digest="", answer="{30} days",
            template=template, verdict="pass", language="en", received_at=1.0,
        )  # fmt: skip
        assert step.reply(request) == reply
        assert ("template" in request.model_dump(mode="json")) is (template is not None)


@pytest.mark.parametrize("priority", [0, 6])
def test_a_priority_no_server_has_is_refused(priority: int) -> None:
    """Temporal has five."""
    with pytest.raises(ValidationError, match="priority"):
        TenantSettings(priority=priority)


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, "http://127.0.0.1:8088"),
        ({"host": "::1", "port": 80}, "http://[::1]:80"),
        ({"host": "::"}, ""),
        ({"port": 0}, ""),
        ({"host": "::", "public_url": "https://chat.example/parley/"}, "https://chat.example/parley"),
    ],
)
def test_the_chat_pages_address_is_planned(given: dict[str, object], page: str) -> None:
    """As a browser reaches it; where that is not known there is none."""
    settings = Settings(
        pools={"all": PoolSettings(serves=SERVICES)},
        gateway=GatewaySettings.model_validate(given),
        access=AccessSettings(trust_network=True),
    )
    planner = TurnPlanner(settings, {"default": Policy(PolicyRules(), WordList([]))}, {"default": _MODEL})
    said = ReceiveInput(turn=TurnKey(conversation="c", turn=1, tenant="default"), message_id="m", text="Hi", user="ann")
    assert planner.plan(said).page == page
