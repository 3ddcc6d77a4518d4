"""What the settings say of a tenant is in the plan of each of its turns."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from activities.turn_plan import TurnPlanner
from dialogue.messages import TurnKey
from dialogue.plan import ModelPlan
from dialogue.steps import ReceiveInput
from policy.policy import Policy
from policy.rules import PolicyRules
from policy.words import WordList
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
