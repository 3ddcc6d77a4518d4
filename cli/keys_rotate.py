"""``parley keys rotate``: another key wraps the data keys, and it is said when the old one is needed no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from settings.schema import Settings

__all__ = ["rotate"]

_PASSES = 3
"""Over all data keys: one that is wrapped under the old key meanwhile may stand where a pass was already."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Done:
    """``were_behind`` and ``behind``: data keys that were, and are, under another key than ``newest``."""

    new_key: bool
    newest: tuple[str, ...]
    rewrapped: int
    were_behind: int
    behind: int


async def rotate(
    *,
    rewrap_only: Annotated[
        bool, Parameter(negative="", help="Make no new key: only bring all data keys under the newest there is.")
    ] = False,
    json: Json = False,
) -> int:
    """Make a new key that wraps data keys (encryption.provider), and wrap every data key anew under it.

    Everything may run meanwhile, and the old key still unwraps. A minute later run it again with --rewrap-only: when it
    says that no data key was under another key, the old one can be taken away. Broken off, it can be run again so too.
    Exit code 1: some are still under another key.
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
    Layout.of(settings).data.mkdir(parents=True, exist_ok=True)
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
    return 1 if done.behind else 0


async def _rotate(settings: Settings, engine: AsyncEngine, *, rewrap_only: bool) -> _Done:
    from records.data_keys import DataKeys
    from records.key_standing import key_standing
    from records.tenant_keys import open_key_provider

    provider = open_key_provider(settings)
    assert provider is not None  # noqa: S101 the caller looked
    keys = DataKeys(engine, provider)
    old = found = after = await key_standing(engine, provider)
    made = not rewrap_only and await keys.rotate()
    if made:
        found = await key_standing(engine, provider)
    done = 0
    for _ in range(_PASSES):
        async for count in keys.rewrap():
            done = count
        after = await key_standing(engine, provider)
        if not after.behind:
            break
    # Google's new version wraps only some time after it became the primary one. Amazon's key keeps its name.
    lags = made and settings.encryption.provider != "aws" and bool({*old.newest} & {*after.newest})
    return _Done(made, after.newest, done, found.behind, done if lags else after.behind)


def _tell(provider: str, done: _Done, *, rewrap_only: bool) -> None:
    from cli.console import counted, print_line

    if not done.new_key and not rewrap_only:
        print_line(
            f"The keys of {provider} are made where they are set: put a new one there for every process, behind the "
            "others first, then in front, and run this with --rewrap-only.",
            error=True,
        )
    under = ", ".join(done.newest[:_SHOWN]) + (" …" if len(done.newest) > _SHOWN else "")
    if done.behind:
        print_line(
            f"Keep the old key: {done.behind} of {counted(done.rewrapped, 'data key')} are not under the newest "
            f"({under}). Run `parley keys rotate --rewrap-only` in a while.",
            error=True,
        )
    elif done.were_behind or done.new_key:
        print_line(f"{counted(done.rewrapped, 'data key')} wrapped under the newest key ({under}).")
        print_line(
            "Keep the old one until `parley keys rotate --rewrap-only`, a minute from now, finds none under it.",
            error=True,
        )
    else:
        print_line(f"{counted(done.rewrapped, 'data key')}, all under the newest key ({under}): no other is needed.")
