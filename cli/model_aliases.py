"""``parley model promote`` and ``rollback``: which version an alias names."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.registry import By

__all__ = ["promote", "rollback"]

Reason = Annotated[str, Parameter(help="Why, for the history.")]


def promote(
    version: str,
    alias: str,
    /,
    *,
    by: By = None,
    reason: Reason = "",
    force: Annotated[bool, Parameter(negative="", help="Although its gate failed; needs --reason.")] = False,
    json: Json = False,
) -> None:
    """Set an alias to a version. Whoever prepares from that alias gets it the next time.

    Parameters
    ----------
    version
        NAME@ALIAS or NAME@DIGEST; 8 digits of it are enough.
    alias
        prod, canary, or any other name.
    """
    from cli.console import print_json, print_line
    from cli.registry import open_registry, parse, short, who
    from dialogue.faults import InvalidRequest
    from settings.load import load

    if force and not reason.strip():
        raise InvalidRequest("reason: --force needs --reason WHY, which is kept in the history.", field="reason")
    registry, reference = open_registry(load()), parse(version)
    digest, before = registry.promote(reference, alias, by=who(by), reason=reason.strip(), force=force)
    if json:
        print_json({"name": reference.name, "alias": alias, "digest": digest, "before": before})
    elif before == digest:
        print_line(f"{reference.name}@{alias} is {short(digest)} already.")
    else:
        was = f" · before {short(before)}" if before else ""
        print_line(f"{reference.name}@{alias} is {short(digest)}{was}")


def rollback(name: str, alias: str = "prod", /, *, by: By = None, reason: Reason = "", json: Json = False) -> None:
    """Put an alias to where it was before; a second time goes one step further back.

    Parameters
    ----------
    name
        The model.
    alias
        prod, canary, or any other name.
    """
    from cli.console import print_json, print_line
    from cli.registry import open_registry, short, who
    from settings.load import load

    digest, left = open_registry(load()).rollback(name, alias, by=who(by), reason=reason.strip())
    if json:
        print_json({"name": name, "alias": alias, "digest": digest, "before": left})
    else:
        print_line(f"{name}@{alias} is {short(digest)} again · before {short(left)}")
