"""``parley keys rotate``: another key wraps the data keys, and it is said when the old one is needed no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from records.key_rotation import UnopenedKey
    from settings.schema import Settings

__all__ = ["rotate"]

_PASSES = 3
"""Over all data keys: one that is wrapped under the old key meanwhile may stand where a pass was already."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Done:
    """``new_key``: one was made for every tenant whose key wraps; ``not_made``: why one was not. ``were_behind`` and
    ``behind``: data keys that were, and are, under another key than ``newest``, the latter without ``unopened`` ones.
    """

    database: str
    new_key: bool
    not_made: str | None
    newest: tuple[str, ...]
    rewrapped: int
    were_behind: int
    behind: int
    unopened: tuple[UnopenedKey, ...]

    @property
    def old_is_needed(self) -> bool:
        return bool(self.behind or self.unopened or self.not_made)


async def rotate(
    *,
    rewrap_only: Annotated[
        bool, Parameter(negative="", help="Make no new key: only bring all data keys under the newest there is.")
    ] = False,
    json: Json = False,
) -> int:
    """Make a new key that wraps data keys (encryption.provider), and wrap every data key anew under it.

    Run it where the key is set and records.database is the site's. Everything may run meanwhile, and the old key still
    unwraps. A minute later run it again with --rewrap-only: when it says that no data key was under another key, the
    old one can be taken away. Broken off, it can be run again so too. Exit code 1: some are still under another key, or
    do not open and are named, or that database holds none.
    """
    from cli.console import print_json
    from dialogue.faults import SettingsFault
    from records.database import connect_database, migrate
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    if settings.encryption.provider == "none":
        raise SettingsFault(
            "encryption.provider: is none: there is no key to rotate. Name a provider first.",
            field="encryption.provider",
        )
    url = Layout.of(settings).database_url(settings.records.database)
    await _require_data_keys(url)
    await migrate(url)
    engine = connect_database(url)
    try:
        done = await _rotate(settings, engine, rewrap_only=rewrap_only)
    finally:
        await engine.dispose()
    if json:
        print_json(done)
    else:
        _tell(settings.encryption.provider, done, rewrap_only=rewrap_only)
    return 1 if done.old_is_needed else 0


async def _require_data_keys(url: str) -> None:
    """Before anything is made: of another database than the site's nothing could be said of its data keys."""
    from sqlalchemy import make_url

    from dialogue.faults import KeyMissing
    from records.key_rotation import holds_data_keys

    if not await holds_data_keys(url):
        raise KeyMissing(
            f"records.database: {make_url(url).render_as_string(hide_password=True)} holds no data key, so nothing was "
            "done. Run this where the site's records are, or name their database there.",
            field="records.database",
        )


async def _rotate(settings: Settings, engine: AsyncEngine, *, rewrap_only: bool) -> _Done:
    from dialogue.faults import KeyMissing
    from records.key_rotation import KeyRotation, Rewrapped
    from records.tenant_keys import open_key_provider

    provider = open_key_provider(settings)
    assert provider is not None  # noqa: S101 the caller looked
    rotation = KeyRotation(engine, provider)
    old = found = after = await rotation.standing()
    made, not_made, done = False, None, Rewrapped(0, ())
    if not rewrap_only:
        try:
            made = await rotation.rotate()
        except KeyMissing as fault:
            not_made = fault.message
        found = await rotation.standing()
    for _ in range(_PASSES):
        done = await rotation.rewrap()
        after = await rotation.standing(done.unopened)
        if not after.behind:
            break
    newest = {*after.newest.values()}
    # Google's new version wraps only some time after it became the primary one. Amazon's key keeps its name.
    lags = made and settings.encryption.provider != "aws" and not newest.isdisjoint(old.newest.values())
    return _Done(
        database=engine.url.render_as_string(hide_password=True),
        new_key=made,
        not_made=not_made,
        newest=tuple(sorted(newest)),
        rewrapped=done.done,
        were_behind=found.behind,
        behind=done.done if lags else after.behind,
        unopened=done.unopened,
    )


def _tell(provider: str, done: _Done, *, rewrap_only: bool) -> None:
    from cli.console import counted, print_line

    if done.not_made:
        print_line(f"{done.not_made} Mend that, then run this again.", error=True)
    elif not done.new_key and not rewrap_only:
        print_line(
            f"The keys of {provider} are made where they are set: put a new one there for every process, behind the "
            "others first, then in front, and run this with --rewrap-only.",
            error=True,
        )
    for line in _unopened(done.unopened):
        print_line(line, error=True)
    under = f" ({', '.join(_some(done.newest))})" if done.newest else ""
    keys = f"{counted(done.rewrapped, 'data key')} of {done.database}"
    if done.behind:
        print_line(
            f"Keep the old key: {done.behind} of {keys} are not under the newest{under}. "
            "Run `parley keys rotate --rewrap-only` in a while.",
            error=True,
        )
    elif done.were_behind or done.new_key or done.old_is_needed:
        print_line(f"{keys} wrapped under the newest key{under}.")
    else:
        print_line(f"{keys}, all under the newest key{under}: no other is needed.")
    if done.unopened:
        of_users = any(user for key in done.unopened for user in key.users)  # nobody can forget the others
        or_else = ", or give their texts up (`parley audit forget USER --tenant TENANT`)" if of_users else ""
        print_line(
            "Keep every old key: put back their tenants' keys or, out of a copy of the database, their rows"
            f"{or_else}. Then run `parley keys rotate --rewrap-only`.",
            error=True,
        )
    elif not done.old_is_needed and (done.were_behind or done.new_key):
        print_line(
            "Keep the old one until `parley keys rotate --rewrap-only`, a minute from now, finds none under it.",
            error=True,
        )


def _unopened(keys: tuple[UnopenedKey, ...]) -> Iterator[str]:
    """A line for each reason and tenant."""
    from cli.console import counted

    groups: dict[tuple[str, str], list[UnopenedKey]] = {}
    for key in keys:
        groups.setdefault((key.tenant, key.why), []).append(key)
    for (tenant, why), group in groups.items():
        whose = f"of tenant {tenant}" if tenant else "of no tenant yet"
        ids = ", ".join(_some([f"{key.id} of {_owners(key)}" for key in group]))
        verb = "does" if len(group) == 1 else "do"
        yield f"{counted(len(group), 'data key')} {whose} {verb} not open ({ids}): {why}"


def _owners(key: UnopenedKey) -> str:
    """The key of a tenant's word index is no user's (records/audit_words.py)."""
    return ", ".join(user or "the tenant itself" for user in key.users) or "nobody"


def _some(names: list[str] | tuple[str, ...]) -> list[str]:
    return [*names[:_SHOWN], *["…"] * (len(names) > _SHOWN)]
