"""Downloads files over HTTP, several at once, each going on where it was broken off and checked as it comes.

A file that is not whole stands beside its place as ``<name>.part``. Every chunk is handed to the operating system
before the next one is asked for, so that a process killed at any byte has lost nothing that it had. The next one asks
for the rest (``Range``), if the file is still the one it was (``If-Range`` with its ETag, kept in ``<name>.etag``).
Whatever a server says of lengths and ranges, the digest decides in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dialogue.faults import DownloadFailed, DownloadRefused, ModelCorrupt
from model_runtime.download_part import Part, Wanted
from model_runtime.model_store import file_digest

if TYPE_CHECKING:
    import httpx

__all__ = ["Downloaded", "Patience", "Wanted", "download_all", "refusal"]

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
"""Seconds; a server that wants to be left alone for longer is asked again after these."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a file is asked for without a byte coming, and how long is waited between, in seconds, at first."""

    attempts: int = 6
    seconds: float = 0.5


async def download_all(
    client: httpx.AsyncClient,
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    parallel: int = 4,
    told: Callable[[int], None] = lambda count: None,
    patience: Patience = Patience(),
) -> list[Downloaded]:
    """Puts all files into ``folder``, checked; ``told`` is called with how many more bytes are there.

    Raises :class:`DownloadRefused` where the server says no, :class:`DownloadFailed` where it cannot be reached or
    gives up again and again, :class:`ModelCorrupt` where what it gives is not what was promised. What came is kept
    for the next time.
    """
    places = asyncio.Semaphore(parallel)

    async def one(file: Wanted) -> Downloaded:
        async with places:
            return await _File(client, file, folder, told, patience).get()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(file)) for file in wanted]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def refusal(url: str, status: int) -> DownloadFailed | DownloadRefused:
    """The fault for a status that is no success. ``url`` as it was asked for, not as it was redirected to."""
    if status in _AGAIN or status >= 500:
        return DownloadFailed(f"{url} answers {status} again and again: do it again later; what came is kept.")
    ways_out = {
        401: "it wants a token: put one into PARLEY_MODEL_TOKEN or the file of pull.token_file",
        403: "this token may not read it: ask for access, or give another one",
        404: "there is no such file: see to the address and the revision",
        407: "the proxy wants a password: put it into HTTPS_PROXY",
        410: "it is gone: see to the address and the revision",
    }
    return DownloadRefused(f"{url} answers {status}: {ways_out.get(status, 'see to the address')}.")


class _Discard(Exception):
    """What is there is not of the file that the server has: it is thrown away and asked for from its first byte."""


class _File:
    """The download of one file, over as many requests as it takes."""

    def __init__(
        self, client: httpx.AsyncClient, wanted: Wanted, folder: Path, told: Callable[[int], None], patience: Patience
    ) -> None:
        self._client, self._wanted, self._told, self._patience = client, wanted, told, patience
        self._target = folder / wanted.name
        self._part = folder / f"{wanted.name}.part"
        self._etag = folder / f"{wanted.name}.etag"

    async def get(self) -> Downloaded:
        if (found := await asyncio.to_thread(self._standing)) is not None:
            self._told(self._wanted.bytes)
            return Downloaded(self._wanted.name, found)
        for fresh in (False, True):
            if fresh:
                self._forget()
            with Part(self._part, self._wanted) as part:
                await asyncio.to_thread(part.read_back)
                self._told(part.size)
                await self._fill(part)
                if part.is_right:
                    part.to_disk()
                    break
                self._told(-part.size)
        else:
            raise self._not_it("the digest differs, twice")
        self._part.rename(self._target)
        self._etag.unlink(missing_ok=True)
        return Downloaded(self._wanted.name, part.sha256)

    def _standing(self) -> str | None:
        """The SHA-256 of the file where an earlier run has brought it already, and it is right."""
        if not self._target.is_file() or self._target.stat().st_size != self._wanted.bytes:
            return None
        if self._wanted.sha256 is not None:
            found = file_digest(self._target)
            return found if found == self._wanted.sha256 else None
        with Part(self._target, self._wanted) as part:
            part.read_back()
            return part.sha256 if part.is_right else None

    def _forget(self) -> None:
        self._part.unlink(missing_ok=True)
        self._etag.unlink(missing_ok=True)

    def _not_it(self, why: str) -> ModelCorrupt:
        """The server says that this is all and well, and it is another file."""
        self._forget()
        return ModelCorrupt(
            f"{self._wanted.url} is not the file that its manifest promises ({why}): tell who publishes it; nothing of "
            "it was kept."
        )

    async def _fill(self, part: Part) -> None:
        """Asks until all bytes are there. An attempt that brings some does not count."""
        import httpx

        best, fruitless = part.size, 0
        while part.size < self._wanted.bytes:
            failed, wait = None, 0.0
            try:
                failed, wait = await self._ask(part)
            except _Discard:
                self._told(-part.size)
                part.restart()
            except httpx.RequestError as error:
                reason = str(error) or type(error).__name__
                failed = DownloadFailed(f"{self._wanted.url}: {reason}: do it again; what came is kept.")
            # one that gets no further than another did brings nothing: a server without ranges may always break off
            fruitless = 0 if part.size > best else fruitless + 1
            best = max(best, part.size)
            if part.size == self._wanted.bytes or not fruitless:
                continue
            if fruitless >= self._patience.attempts:
                raise failed or self._not_it(f"it ends after {part.size} of {self._wanted.bytes} bytes")
            await asyncio.sleep(max(wait, self._patience.seconds * 2 ** (fruitless - 1)))

    async def _ask(self, part: Part) -> tuple[DownloadFailed | None, float]:
        """One request. Gives why it brought nothing, and how long the server wants to be left alone, in seconds."""
        headers = {"Accept-Encoding": "identity"}  # the digest is that of the file, not of a packed one
        etag = self._etag.read_text() if self._etag.is_file() else None
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if etag:
                headers["If-Range"] = etag
        async with self._client.stream("GET", self._wanted.url, headers=headers) as response:
            if response.status_code == 416:
                raise _Discard
            if response.status_code not in (200, 206):
                fault = refusal(self._wanted.url, response.status_code)
                if isinstance(fault, DownloadRefused):
                    raise fault
                return fault, _retry_after(response.headers.get("Retry-After"))
            self._begin(part, response, etag)
            # as it comes: httpx keeps what fills no chunk of a given size, and loses it with the connection
            async for chunk in response.aiter_raw():
                piece = chunk[: self._wanted.bytes - part.size]
                part.add(piece)
                self._told(len(piece))
                if len(piece) < len(chunk):
                    break  # a server that sends more than was promised is not read on; the digest decides
        return None, 0.0

    def _begin(self, part: Part, response: httpx.Response, known: str | None) -> None:
        """Is what comes the rest of what is there? A server may ignore the range, or hold another file by now."""
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else ""
        if response.status_code == 206:
            place = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if place is None or int(place[1]) != part.size or (known and strong and strong != known):
                raise _Discard
        elif part.size:
            self._told(-part.size)
            part.restart()
        if strong != (known or ""):
            self._etag.write_text(strong)


def _retry_after(given: str | None) -> float:
    """Seconds, as a number or until a date; a minute at most."""
    if not given:
        return 0.0
    if given.strip().isdigit():
        return min(float(given), _LONGEST_WAIT)
    from datetime import UTC, datetime

    with contextlib.suppress(ValueError):
        return min(max((parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)
    return 0.0
