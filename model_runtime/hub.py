"""What a Hugging Face-compatible hub has under ``owner/name@revision``: the commit, and its files with their digests.

Large files (LFS) come with their SHA-256, small ones with the SHA-1 git gives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dialogue.faults import DownloadFailed, DownloadRefused, ModelFault
from model_runtime.download import Wanted, refusal
from model_runtime.safe_files import kind_of

if TYPE_CHECKING:
    import httpx

__all__ = ["PUBLIC_HUB", "HubModel", "find_model"]

PUBLIC_HUB = "https://huggingface.co"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_PAGES = 100


@dataclass(frozen=True, slots=True)
class HubModel:
    """``left_out``: what is there and is not taken, each with the reason."""

    repo: str
    commit: str
    wanted: tuple[Wanted, ...]
    left_out: tuple[tuple[str, str], ...]


async def find_model(client: httpx.AsyncClient, hub: str, repo: str, revision: str) -> HubModel:
    """Raises :class:`DownloadRefused`, :class:`DownloadFailed`, and ModelFault where there are no safetensors."""
    api = f"{hub}/api/models/{quote(repo)}"
    told = (await _json(client, f"{api}/revision/{quote(revision, safe='')}")).json()
    commit = told.get("sha") if isinstance(told, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise _strange(f"{api}/revision/{revision}")
    wanted: list[Wanted] = []
    left_out: list[tuple[str, str]] = []
    for entry in await _tree(client, f"{api}/tree/{commit}?recursive=true"):
        name, kind = entry["path"], kind_of(entry["path"])
        if kind == "taken":
            wanted.append(_wanted(entry, f"{hub}/{quote(repo)}/resolve/{commit}/{quote(name)}"))
        else:
            left_out.append((name, _RUNS if kind == "refused" else "not needed to run the model"))
    if not any(file.name.endswith(".safetensors") for file in wanted):
        raise ModelFault(
            f"{repo}@{revision} holds no safetensors weights: ask who publishes it for them, or take a revision that "
            "has them; pickles are never taken."
        )
    return HubModel(repo, commit, tuple(wanted), tuple(left_out))


_RUNS = "refused: it runs code when it is read"


async def _tree(client: httpx.AsyncClient, url: str) -> list[dict[str, Any]]:
    """The files, page by page."""
    files: list[dict[str, Any]] = []
    asked, page = url, url
    for _ in range(_PAGES):
        response = await _json(client, page)
        entries = response.json()
        if not isinstance(entries, list):
            raise _strange(asked)
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise _strange(asked)
            if entry.get("type") == "file":
                files.append(entry)
        following = response.links.get("next", {}).get("url")
        if following is None:
            return files
        page = str(response.url.join(following))
    raise _strange(asked)


def _wanted(entry: dict[str, Any], url: str) -> Wanted:
    lfs = entry.get("lfs") or {}
    size = lfs.get("size", entry.get("size"))
    sha256, sha1 = lfs.get("oid"), None if lfs else entry.get("oid")
    if not isinstance(size, int) or size < 0:
        raise _strange(url)
    if not (_SHA256.fullmatch(sha256 or "") or _SHA1.fullmatch(sha1 or "")):
        raise _strange(url)
    return Wanted(entry["path"], url, size, sha256, sha1)


def _strange(url: str) -> DownloadRefused:
    return DownloadRefused(f"{url}: what comes from there is no hub's answer: see to pull.hub and its HF_ENDPOINT.")


async def _json(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """A successful response that holds JSON."""
    import httpx

    try:
        response = await client.get(url)
    except httpx.RequestError as error:
        raise DownloadFailed(
            f"{url}: {str(error) or type(error).__name__}: see to the network and pull.hub."
        ) from error
    if response.status_code != httpx.codes.OK:
        raise refusal(url, response.status_code)
    try:
        response.json()
    except ValueError:
        raise _strange(url) from None
    return response
