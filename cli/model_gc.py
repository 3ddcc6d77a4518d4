"""``parley model gc``: versions that nobody needs are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from model_runtime.registry import Registry
    from settings.schema import Settings

__all__ = ["answered", "gc"]


async def gc(
    *,
    yes: Annotated[bool, Parameter(negative="", help="Remove them; without it they are only shown.")] = False,
    json: Json = False,
) -> None:
    """Remove the versions that no alias, no kept answer of this site and no setting names.

    An alias holds its last places too (registry.history), so that it can be rolled back.
    """
    import asyncio

    from cli.console import output, print_json, print_line
    from cli.registry import open_registry, short
    from cli.tables import rows
    from model_runtime.registry_gc import collect
    from settings.load import load

    settings = load()
    registry = open_registry(settings)
    needed = {**await answered(settings, "model_digest"), **await asyncio.to_thread(_set, settings, registry)}
    decisions = await asyncio.to_thread(collect, registry, needed=needed, history=settings.registry.history, delete=yes)
    if json:
        print_json(decisions)
        return
    state = {(True, False): "stays", (False, False): "would go", (False, True): "removed"}
    lines = [
        (each.name, short(each.digest), f"{each.bytes / 1e6:.0f} MB", state[each.stays, each.removed], each.why)
        for each in decisions
    ]
    if lines:
        output().print(rows(("name", "digest", "size", "", "why"), lines, right=(2,)))
    going = [each for each in decisions if not each.stays]
    size = sum(each.bytes for each in going) / 1e6
    done = "removed" if yes else "would be removed; do it with --yes" if going else "would be removed"
    print_line(f"{len(decisions) - len(going)} stay · {len(going)} of {size:.0f} MB {done}")


async def answered(settings: Settings, what: Literal["model_digest", "snapshot"]) -> dict[str, str]:
    """What kept answers name, with which of them do. A site that has answered nothing has no database yet."""
    from records.audit import AuditLog
    from records.database import connect_database
    from settings.layout import Layout

    url = Layout.of(settings).database_url(settings.records.database)
    if settings.records.database == "sqlite" and not (Layout.of(settings).data / "records.db").exists():
        return {}
    engine = connect_database(url)
    try:
        naming = await AuditLog(engine).naming(what)
    finally:
        await engine.dispose()
    return {name: str(answers) for name, answers in naming.items()}


def _set(settings: Settings, registry: Registry) -> dict[str, str]:
    """The digests that this site's ``model.source`` settings name."""
    from cli.prepared import all_models
    from cli.registry import parse
    from dialogue.faults import NoSuchVersion

    found: dict[str, str] = {}
    for model in all_models(settings):
        if model.source.startswith("registry:"):
            try:
                found[registry.resolve(parse(model.source))] = "this site's model.source names it"
            except NoSuchVersion:  # told by `parley prepare`; there is nothing to keep
                continue
    return found
