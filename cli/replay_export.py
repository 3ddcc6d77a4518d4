"""``parley replay export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import Files

if TYPE_CHECKING:
    from replay.bundling import Gathered
    from replay.evidence import Evidence

__all__ = ["export"]


async def export(
    conversation: str | None = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="The file to write, a zip; it is not there yet.")],
    file: Files = (),
    redact: Annotated[
        bool, Parameter(negative="", help="Replace personal data: the same value by the same placeholder.")
    ] = False,
    json: Json = False,
) -> int:
    """Write an incident into one signed file.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file.
    """
    import hashlib

    from cli.console import print_json, print_line
    from cli.replay_source import UNCHECKED, chain_of, tell_problems
    from cli.versions import version_of
    from records.held_keys import destroyed_keys
    from records.private_file import replace_private
    from records.signing import Signer
    from replay.bundle import pack
    from replay.bundling import gather
    from replay.evidence import evidence
    from settings.load import load

    settings = load()
    _check(out)
    async with evidence(settings) as held:
        destroyed = await destroyed_keys(held.database)
        chain = await chain_of(settings, conversation, None, file)
        code = tell_problems(chain)
        found = await gather(chain, held, version=version_of("parley"), redact=redact)
        body = pack(found.manifest, found.files, Signer.open(settings))
        digest = hashlib.sha256(body).hexdigest()
        await _note(held, found, destroyed, _absolute(out), digest)  # before there is a file that nobody knows of
        replace_private(out, body)
    if json:
        print_json({"file": str(out), "digest": digest, "bytes": len(body), "manifest": found.manifest})
    else:
        untold = found.manifest.absent[len(chain.missing) :]  # the missing runs stand first, and were told
        for absent in (*untold, *found.manifest.left_out):
            print_line(f"not in it: {absent}", error=True)
        told = f"{found.manifest.turns} turns, {len(found.files)} files, {len(body)} bytes"
        print_line(f"{out}: {told}{', redacted' if redact else ''}, SHA-256 {digest}.")
    return UNCHECKED if found.manifest.absent else code


def _check(out: Path) -> None:
    from dialogue.faults import InvalidRequest

    if out.exists():
        raise InvalidRequest(f"out: {out} is there already. Name another, or remove it.", field="out")
    if not out.parent.is_dir():
        raise InvalidRequest(f"out: there is no folder {out.parent}. Make it, or name another.", field="out")


async def _note(held: Evidence, found: Gathered, destroyed: frozenset[str], place: str, digest: str) -> None:
    """One line a user, so that whoever forgets one is told of this file. Who has no row in it yet, or none any more,
    stands in its histories: rows 0 to 0. ``destroyed``: keys that were so before anything was read. Raises KeyDestroyed
    where another one of theirs was since."""
    from datetime import UTC, datetime
    from functools import partial

    from records.audit_exports import AuditExports, Export
    from records.held_keys import hold_keys_of

    written: list[Export] = []
    for tenant, user in found.people:
        theirs = [row.position for row in found.rows if (row.tenant, row.user_id) == (tenant, user)] or [0]
        written.append(Export(tenant, user, min(theirs), max(theirs), place, digest, datetime.now(UTC)))
    hold = partial(hold_keys_of, people=found.people, destroyed=destroyed)
    await AuditExports(held.database, held.audit).keep(written, hold)


def _absolute(path: Path) -> str:
    return str(path.absolute())
