"""Whose texts an incident holds: who spoke, judged an answer, or was refused."""

from __future__ import annotations

from typing import Any, cast

from dialogue.messages import ANONYMOUS, TenantOnly
from replay.chain import Chain, RecordedRun
from replay.events import UNREADABLE, attributes, first_value, payloads_of, value_of
from replay.turns import Story

__all__ = ["people_of"]


def people_of(story: Story, chain: Chain) -> list[tuple[str, str]]:
    """Tenant and user of each, once. ``story`` is the chain's."""
    tenants = [_tenant(run) or story.tenant for run in chain.runs]
    found = [(tenants[turn.run - 1], turn.user or ANONYMOUS) for turn in story.turns]
    for run, tenant in zip(chain.runs, tenants, strict=True):
        found += [(tenant, user) for user in _users(run)]
    return list(dict.fromkeys(found))


def _tenant(run: RecordedRun) -> str:
    """A run refuses what is another's, so it holds one tenant's texts alone. Empty where its start is not there."""
    given = first_value(attributes(run.events[0]).input) if run.began else UNREADABLE
    return "" if given == UNREADABLE else str(_fields(given).get("tenant") or TenantOnly().tenant)


def _users(run: RecordedRun) -> list[str]:
    """As messages and the arguments of steps name them: also those whose message became no turn."""
    named = (_fields(value_of(each)).get("user") for event in run.events for each in payloads_of(event))
    return [user for user in named if isinstance(user, str) and user]


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
