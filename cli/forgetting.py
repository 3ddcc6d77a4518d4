"""What ``parley audit forget`` shows and does beside the records: conversations that still run, files that are out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from records.audit_exports import AuditExports, Export
    from records.data_keys import DataKeys
    from records.forgetting import Forgotten, InClear
    from records.protection import Protection
    from settings.schema import Settings

__all__ = ["end_conversations", "told", "would_be"]


async def end_conversations(
    settings: Settings, protection: Protection, workflows: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Ends those that run; returns them, and those that Temporal could not be asked about."""
    from temporalio.service import RPCError, RPCStatusCode

    from records.connection import connect

    if not workflows:
        return [], []
    try:
        client = await connect(settings.temporal, protection=protection)
    except ConnectionError:
        return [], list(workflows)
    ended: list[str] = []
    not_ended: list[str] = []
    for workflow_id in workflows:
        try:
            await client.get_workflow_handle(workflow_id).terminate(reason="its user was forgotten")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # else it ended before
                not_ended.append(workflow_id)
        else:
            ended.append(workflow_id)
    return ended, not_ended


async def would_be(
    engine: AsyncEngine, keys: DataKeys, exports: AuditExports, tenant: str, user: str, *, json: bool
) -> None:
    """Prints what forgetting would reach."""
    from dataclasses import asdict

    from cli.console import counted, print_json, print_line
    from records.forgetting import what_is_in_clear

    workflows = await keys.workflows_of(tenant, user)
    held = await exports.holding(tenant, user)
    in_clear = await what_is_in_clear(engine, tenant, user)
    if json:
        files = [asdict(export) for export in held]
        print_json({"would": True, "workflows": workflows, "exports": files, "in_clear": asdict(in_clear)})
        return
    theirs = counted(len(workflows), "conversation")
    print_line(f"{user} of {tenant}: {theirs} would open no more. Nothing was done: add --yes.")
    _beyond_reach(held, in_clear)


def told(user: str, done: Forgotten, ended: list[str], not_ended: list[str]) -> None:
    """Prints what was done, and what is left to do by hand."""
    from cli.console import counted, print_line
    from workflows.wording import one_line, one_word

    if not done.keys:
        print_line(f"{user} has no data key: nothing is left to forget.")
    else:
        print_line(
            f"{user} is forgotten: no data key of theirs is left. Opens no more: "
            f"{counted(len(done.workflows), 'conversation')}; ended now: {len(ended)}."
        )
    for workflow_id in not_ended:
        end = f"temporal workflow terminate --workflow-id={one_word(workflow_id)}"
        print_line(f"{one_line(workflow_id)} may still run. End it: {end}")
    _beyond_reach(list(done.exports), done.in_clear)


def _beyond_reach(held: list[Export], in_clear: InClear) -> None:
    from cli.console import print_line

    for export in held:
        print_line(f"Exported before and out of reach: {export.place} ({export.timestamp:%Y-%m-%d}, {export.digest}).")
    if in_clear.rows or in_clear.feedback:
        print_line(
            f"In clear, because the site did not encrypt then: {in_clear.rows} rows and {in_clear.feedback} comments. "
            "They stay as they are."
        )
