"""Brings models in: a prepared one from an address, or a checkpoint from a hub; parallel, resumable, checked.

What comes is gathered in a folder ``.<name>.pulling`` and takes its place in one rename, when every file is there and
has its digest. Broken off, the same pull goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from dialogue.faults import DownloadFailed, InvalidRequest
from model_runtime.download import Downloaded, Patience, Wanted, download_all, refusal
from model_runtime.hub import find_model
from model_runtime.model_store import MANIFEST, ModelManifest, parse_manifest, publish_folder
from model_runtime.room import check_room
from model_runtime.safe_files import check_names, check_weights

if TYPE_CHECKING:
    import httpx

__all__ = ["PULLED", "Pulled", "Source", "parse_source", "pull"]

PULLED = "pulled.json"
_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
_LONGEST_MANIFEST = 4 << 20
Share = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Either ``url``, below which there is a ``manifest.json``, or ``repo`` and ``revision`` on the hub ``url``."""

    url: str
    repo: str = ""
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.repo else self.url


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came. ``manifest`` where it is a prepared model; ``commit`` where it is of a hub; ``bytes`` of it all."""

    folder: Path
    bytes: int
    left_out: tuple[tuple[str, str], ...] = ()
    manifest: ModelManifest | None = None
    commit: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    wanted: tuple[Wanted, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    manifest: ModelManifest | None = None
    commit: str = ""


def parse_source(text: str, hub: str) -> Source:
    """Raises :class:`InvalidRequest`; the message does not repeat what may hold a password."""
    if text.startswith(("http://", "https://")):
        parts = urlsplit(text)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InvalidRequest(
                "source: an address with a user, a password or a query: leave these out, and put the token into "
                "PARLEY_MODEL_TOKEN.",
                field="source",
            )
        return Source(text.removesuffix(f"/{MANIFEST}").rstrip("/"))
    if (found := _HUB_NAME.fullmatch(text)) and ".." not in text:
        return Source(hub.rstrip("/"), found["repo"], found["revision"])
    raise InvalidRequest(
        f"source: {text!r} is neither an address (https://…) nor owner/name@revision of a hub.", field="source"
    )


def pull(
    source: Source,
    folder: Path,
    *,
    token: str | None = None,
    parallel: int = 4,
    told: Share = lambda done, total: None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Pulled:
    """Puts the model into a folder of its own below ``folder``; at once where it stands there already.

    Raises what :func:`~model_runtime.download.download_all` does, :class:`~dialogue.faults.UnsafeModel` for a manifest
    that names pickles, programs or paths, and :class:`~dialogue.faults.ModelFault` where there is no room, before a
    byte is written.
    """
    return asyncio.run(_pull(source, Path(folder), token, parallel, told, patience))


async def _pull(
    source: Source, folder: Path, token: str | None, parallel: int, told: Share, patience: Patience
) -> Pulled:
    from model_runtime.http_client import async_client

    async with async_client(source.url, token) as client:
        plan = await (_plan_hub(client, source) if source.repo else _plan_url(client, source))
        target, done = folder / plan.name, 0
        pulling, total = folder / f".{plan.name}.pulling", sum(file.bytes for file in plan.wanted)
        pulled = Pulled(target, total, plan.left_out, plan.manifest, plan.commit)

        def more(count: int) -> None:
            nonlocal done
            done += count
            told(done, total)

        if _whole(target, plan):
            return pulled
        check_room(folder, total - _there(pulling))
        with _alone(pulling, target):
            if not _whole(target, plan):  # another process may have been faster
                files = await download_all(
                    client, plan.wanted, pulling, parallel=parallel, told=more, patience=patience
                )
                check_weights(pulling, [file.name for file in files])
                (pulling / (MANIFEST if plan.manifest else PULLED)).write_text(_account(source, plan, files), "utf-8")
                publish_folder(pulling, target)
    return pulled


@contextlib.contextmanager
def _alone(pulling: Path, target: Path) -> Iterator[None]:
    """No other process pulls this meanwhile."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        pulling.mkdir(exist_ok=True)
        yield
        shutil.rmtree(pulling, ignore_errors=True)


def _whole(target: Path, plan: _Plan) -> bool:
    """Whether all is there, by its sizes: it was checked before it got there, and is again before it is used."""
    there = {file.name: file.stat().st_size for file in target.iterdir()} if target.is_dir() else {}
    return bool(there) and all(there.get(file.name) == file.bytes for file in plan.wanted)


def _there(pulling: Path) -> int:
    """Bytes that an earlier pull has brought."""
    return sum(file.stat().st_size for file in pulling.iterdir()) if pulling.is_dir() else 0


def _account(source: Source, plan: _Plan, files: list[Downloaded]) -> str:
    """The manifest of a prepared model; of a checkpoint, where it is from and what it is. The same each time."""
    if plan.manifest is not None:
        return plan.manifest.to_json()
    sizes = {file.name: file.bytes for file in plan.wanted}
    listed = {file.name: {"sha256": file.sha256, "bytes": sizes[file.name]} for file in files}
    told = {"hub": source.url, "repo": source.repo, "commit": plan.commit, "files": listed}
    return json.dumps(told, indent=2, sort_keys=True) + "\n"


async def _plan_hub(client: httpx.AsyncClient, source: Source) -> _Plan:
    found = await find_model(client, source.url, source.repo, source.revision)
    name = f"{source.repo.replace('/', '--')}-{found.commit[:12]}"
    return _Plan(name, found.wanted, found.left_out, commit=found.commit)


async def _plan_url(client: httpx.AsyncClient, source: Source) -> _Plan:
    url = f"{source.url}/{MANIFEST}"
    manifest = parse_manifest(await _small(client, url), url, "see to the address, or tell who publishes it.")
    check_names(manifest.files, url)
    wanted = tuple(
        Wanted(name, f"{source.url}/{quote(name)}", file.bytes, file.sha256) for name, file in manifest.files.items()
    )
    return _Plan(f"{re.sub(r'[^A-Za-z0-9._-]', '-', manifest.name)}-{manifest.digest[:12]}", wanted, manifest=manifest)


async def _small(client: httpx.AsyncClient, url: str) -> bytes:
    import httpx

    body = b""
    try:
        async with client.stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise refusal(url, response.status_code)
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LONGEST_MANIFEST:
                    break
    except httpx.RequestError as error:
        raise DownloadFailed(
            f"{url}: {str(error) or type(error).__name__}: see to the address and the network."
        ) from error
    return body
