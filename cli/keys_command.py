"""``parley keys``: who may use the gateway, tokens for those who start workflows themselves, the tenants' keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from cli.options import Json, User

if TYPE_CHECKING:
    from datetime import datetime

    from records.api_keys import ApiKey, ApiKeys
    from settings.schema import Settings

__all__ = ["app"]

app = App(name="keys", help="Make, list and revoke API keys; sign caller tokens; rotate or serve the tenants' keys.")

for _name in ("serve", "identity", "quote"):
    app.command(f"cli.key_service_command:{_name}", name=_name)
app.command("cli.keys_rotate:rotate", name="rotate")

KeyTenant = Annotated[str, Parameter(name="--tenant", help="Whose key it is, one of temporal.yaml's tenants.")]


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[ApiKeys]:
    """The keys in the records' database, whose tables are made where nobody did so yet."""
    from records.api_keys import ApiKeys
    from records.database import connect_database, migrate
    from settings.layout import Layout

    layout = Layout.of(settings)
    layout.data.mkdir(parents=True, exist_ok=True)
    url = layout.database_url(settings.records.database)
    await migrate(url)
    engine = connect_database(url)
    try:
        yield ApiKeys(engine)
    finally:
        await engine.dispose()


@app.command
async def create(
    *,
    tenant: KeyTenant,
    user: Annotated[str | None, Parameter(help="Bind it to this user; else it speaks for any of the tenant's.")] = None,
    scope: Annotated[
        tuple[str, ...],
        Parameter(
            help="chat, review, operate, admin, codec:operator, codec:reviewer, codec:auditor or codec:service; "
            "may be repeated.",
            negative="",
        ),
    ] = ("chat",),
    name: Annotated[str, Parameter(help="What it is for, as the list shows it.")] = "",
    expires: Annotated[float | None, Parameter(help="Days until it is over; else it holds until revoked.")] = None,
    json: Json = False,
) -> None:
    """Make a key and print it, once: only a digest of it is kept."""
    from cli.connected import known_tenant, known_user
    from cli.console import print_json, print_line
    from settings.load import load

    settings = load()
    known_tenant(settings, tenant)
    user = None if user is None else known_user(user)
    async with _opened(settings) as keys:
        key, kept = await keys.create(tenant, user=user, scopes=scope, name=name, days=expires)
    if json:
        print_json({"key": key, **_shown(kept)})
        return
    print_line(key)
    until = f"until {_day(kept.expires)}" if kept.expires else "until it is revoked"
    print_line(f"It is not shown again. It holds for {tenant} ({', '.join(kept.scopes)}) {until}.", error=True)


@app.command(name="list")
async def list_(
    *,
    tenant: Annotated[str | None, Parameter(help="Of this tenant alone.")] = None,
    json: Json = False,
) -> None:
    """List the keys, without their secrets."""
    from datetime import UTC, datetime

    from cli.connected import known_tenant
    from cli.console import output, print_json, print_line
    from cli.tables import rows
    from settings.load import load

    settings = load()
    if tenant is not None:
        known_tenant(settings, tenant)
    async with _opened(settings) as keys:
        found = await keys.known(tenant)
    if json:
        print_json([_shown(each) for each in found])
    elif found:
        now = datetime.now(UTC)
        lines = [
            (each.id, each.tenant, each.user or "any", ", ".join(each.scopes), _state(each, now), each.name)
            for each in found
        ]
        output().print(rows(("id", "tenant", "user", "scopes", "state", "name"), lines))
    else:
        print_line("There are no keys. Make one with `parley keys create --tenant TENANT`.")


@app.command
async def revoke(id_: Annotated[str, Parameter(name="ID")], /, *, json: Json = False) -> None:
    """Revoke a key: its next request is refused.

    Parameters
    ----------
    id_
        Its id, as `parley keys list` shows it; the whole key will do too.
    """
    from cli.console import print_json, print_line
    from settings.access import PREFIX
    from settings.load import load

    if id_.startswith(PREFIX):
        id_ = id_.removeprefix(PREFIX).partition("_")[0]
    async with _opened(load()) as keys:
        kept = await keys.revoke(id_)
    if json:
        print_json(_shown(kept))
    else:
        print_line(f"{kept.id} is revoked.")


@app.command
def token(
    *,
    tenant: Annotated[str, Parameter(name="--tenant", help="The tenant that it vouches for.")],
    user: User = "anonymous",
    seconds: Annotated[int, Parameter(help="How long it holds.")] = 300,
    json: Json = False,
) -> None:
    """Sign a caller token, for a start or message through a Temporal SDK."""
    from cli.connected import known_tenant, known_user
    from cli.console import print_json, print_line
    from records.caller_tokens import CallerTokens
    from settings.load import load

    settings = load()
    tokens = CallerTokens.open(settings, always=True)
    signed = tokens.sign(known_tenant(settings, tenant), known_user(user), seconds=seconds)
    if json:
        print_json({"caller": signed, "tenant": tenant, "user": user, "seconds": seconds})
    else:
        print_line(signed or "")


def _shown(key: ApiKey) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(key)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    if key.expires is None:
        return "holds"
    return f"{'until' if key.holds(now) else 'over since'} {_day(key.expires)}"


def _day(moment: datetime) -> str:
    return moment.date().isoformat()
