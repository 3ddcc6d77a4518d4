"""A registry on a raw HTTP store: files by path, with PUT, GET and DELETE, as a Nexus raw repository has them.

Such a store lists nothing, so the index is the only list. It is written with ``If-Match`` (``If-None-Match: *`` the
first time): of two writers at once one is told so, and does it again on top of the other's change. A store that does
not know these headers takes both, and the last one wins. What was written is read back, which finds some of these
cases and not all: there, let one machine publish and promote at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx

from dialogue.faults import DownloadFailed, DownloadRefused, ModelCorrupt, RegistryFault, RegistryUnavailable
from model_runtime.download import Patience, Wanted, download_all
from model_runtime.http_client import async_client, client
from model_runtime.model_store import FileRecord
from model_runtime.registry_store import Document, Told

__all__ = ["HttpStore"]

_ATTEMPTS = 3
_GONE = (404, 410)
_CHANGED = (409, 412)
_WAYS_OUT = {
    401: "it wants a token: put one into PARLEY_REGISTRY_TOKEN or the file of registry.token_file",
    403: "this token may not do that: ask for the right to, or give another one",
    404: "there is no such store: see to its address",
    405: "it lets nothing be written there: see to its address",
    413: "the file is too large for it: raise its limit",
    507: "it has no room: make some",
}


class HttpStore:
    """The store at ``url``, with a bearer token, or ``user`` and the token as password. Proxies as the environment
    has them. ``patience`` is for downloads."""

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        token: str | None = None,
        parallel: int = 4,
        patience: Patience | None = None,
    ) -> None:
        self._url, self._user, self._token = url.rstrip("/"), user, token
        self._parallel, self._patience = parallel, patience or Patience()

    @property
    def where(self) -> str:
        return self._url

    def read(self, path: str) -> Document | None:
        response = self._ask("GET", path, gone=True)
        if response.status_code in _GONE:
            return None
        tag = response.headers.get("ETag", "")
        return Document(response.content, tag if tag.startswith('"') else None)  # a weak one matches nothing

    def replace(self, path: str, body: bytes, before: Document | None) -> bool:
        headers = {"If-None-Match": "*"}
        if before is not None:
            headers = {"If-Match": before.tag} if before.tag else {}
        response = self._ask("PUT", path, content=body, headers=headers, changed=True, attempts=1)
        if response.status_code in _CHANGED:
            return False
        written = self.read(path)
        return written is not None and written.body == body

    def write(self, path: str, body: bytes) -> None:
        self._ask("PUT", path, content=body)

    def put(self, path: str, file: Path, *, take: bool = False) -> None:
        size = file.stat().st_size
        self._ask("PUT", path, file=file)
        response = self._ask("HEAD", path)
        if (told := response.headers.get("Content-Length")) not in (None, str(size)):
            raise RegistryUnavailable(f"{self._url}/{path} has {told} bytes after {size} were sent: do it again.")
        if take:
            file.unlink()

    def fetch(self, folder: str, files: Mapping[str, FileRecord], target: Path, told: Told) -> None:
        wanted = [
            Wanted(name, self._at(f"{folder}/{name}"), record.bytes, record.sha256) for name, record in files.items()
        ]
        try:
            asyncio.run(self._download(wanted, target, told))
        except DownloadFailed as fault:
            raise RegistryUnavailable(fault.message) from fault
        except DownloadRefused as fault:
            raise RegistryFault(
                f"{fault.message} The registry's token is that of PARLEY_REGISTRY_TOKEN or registry.token_file."
            ) from fault

    async def _download(self, wanted: list[Wanted], target: Path, told: Told) -> None:
        async with async_client(self._url, self._token, self._user) as opened:
            await download_all(opened, wanted, target, parallel=self._parallel, told=told, patience=self._patience)

    def check(self, folder: str, files: Mapping[str, FileRecord], told: Told) -> None:
        for name, record in files.items():
            digest, address = hashlib.sha256(), self._at(f"{folder}/{name}")
            try:
                with self._client() as opened, opened.stream("GET", address, follow_redirects=True) as response:
                    if response.status_code in _GONE:
                        raise ModelCorrupt(f"{address} is missing: {_WAY_OUT}")
                    self._refuse(address, response)
                    for chunk in response.iter_raw():
                        digest.update(chunk)
                        told(len(chunk))
            except httpx.RequestError as error:
                raise self._unavailable(error) from error
            if digest.hexdigest() != record.sha256:
                raise ModelCorrupt(f"{address} differs from its manifest (SHA-256): {_WAY_OUT}")

    def remove(self, folder: str, names: list[str]) -> None:
        for name in names:
            self._ask("DELETE", f"{folder}/{name}", gone=True)

    def _at(self, path: str) -> str:
        return f"{self._url}/{quote(path)}"

    def _client(self) -> httpx.Client:
        return client(self._url, self._token, self._user)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        file: Path | None = None,
        headers: Mapping[str, str] | None = None,
        gone: bool = False,
        changed: bool = False,
        attempts: int = _ATTEMPTS,
    ) -> httpx.Response:
        """One request, made again when the connection breaks: all of them may be made twice. ``gone`` and ``changed``:
        the caller looks at these statuses itself."""
        for attempt in range(1, attempts + 1):
            try:
                response = self._once(method, path, content, file, headers or {})
            except httpx.RequestError as error:
                # one that cannot be connected to in time is not waited for again: a site waits for this to start
                if attempt == attempts or isinstance(error, httpx.ConnectTimeout):
                    raise self._unavailable(error) from error
                continue
            expected = (*(_GONE if gone else ()), *(_CHANGED if changed else ()))
            if response.status_code >= 500 and attempt < attempts:
                continue
            if response.status_code not in expected:
                self._refuse(self._at(path), response)
            return response
        raise AssertionError  # the last attempt has returned or raised

    def _once(
        self, method: str, path: str, content: bytes | None, file: Path | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        # a PUT that is led elsewhere would become a GET there, and look as if it had worked
        follow = method in ("GET", "HEAD")
        with self._client() as opened, file.open("rb") if file else contextlib.nullcontext(content) as body:
            return opened.request(method, self._at(path), content=body, headers=dict(headers), follow_redirects=follow)

    def _refuse(self, address: str, response: httpx.Response) -> None:
        if response.is_success:
            return
        status = response.status_code
        way_out = _WAYS_OUT.get(status, "see to the store, then do it again")
        fault = RegistryUnavailable if status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS else RegistryFault
        raise fault(f"registry.location: {address} answers {status}: {way_out}.")

    def _unavailable(self, error: httpx.RequestError) -> RegistryUnavailable:
        reason = str(error) or type(error).__name__
        return RegistryUnavailable(
            f"registry.location: {self._url} does not answer ({reason}): see to the store and the network."
        )


_WAY_OUT = "build and publish the model again, or remove the version (`parley model gc`)."
