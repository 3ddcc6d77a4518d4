"""Payloads that are too long for a history, stored outside of it: a folder, or S3 and what speaks its language.

What comes here is sealed already. A payload is stored under the SHA-256 of its bytes, which the history holds too, and
is held against it when it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tempfile
import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from dialogue.faults import ContentMissing, RecordsUnavailable, SettingsFault
from settings.layout import Layout
from settings.schema import ExternalSettings, Settings

__all__ = ["BucketPayloads", "LocalPayloads", "OutsidePayloads", "external_storage", "is_reference"]

OURS = "v0/"
"""What the SDK's names of objects begin with: nothing else in a bucket is removed."""


_REFERENCES = (
    {"encoding": b"json/external-storage-reference"},
    {"encoding": b"json/protobuf", "messageType": b"temporal.api.sdk.v1.ExternalStorageReference"},
)


def is_reference(payload: Payload) -> bool:
    """Whether it says where a payload is stored, as the SDK's external storage writes it."""
    return any(all(payload.metadata.get(name) == value for name, value in each.items()) for each in _REFERENCES)


def external_storage(settings: Settings) -> ExternalStorage | None:
    """As ``encryption.external`` says. Raises SettingsFault where the extra ``s3`` is not installed."""
    given = settings.encryption.external
    if given.store == "none":
        return None
    if given.store == "local":
        folder = settings.resolve(given.folder) if given.folder else Layout.of(settings).payloads
        driver: StorageDriver = LocalPayloads(folder)
    else:
        driver = BucketPayloads(_S3Client(given), given.bucket or "")
    return ExternalStorage(drivers=[driver], payload_size_threshold=given.threshold)


class OutsidePayloads(StorageDriver):
    """A store whose payloads go with their time."""

    @abstractmethod
    async def trim(self, older_than: float) -> int:
        """Removes payloads that were stored more than so many seconds ago, in whatever history they are named; returns
        how many. Raises RecordsUnavailable where the store refuses it."""


class LocalPayloads(OutsidePayloads):
    """A folder that every process of the site reaches, one file a payload."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self) -> str:
        return "parley.local"

    def type(self) -> str:
        return "parley.local"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        return [await asyncio.to_thread(self._store, payload.SerializeToString()) for payload in payloads]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raises ContentMissing for what is not there, or not as it was stored."""
        return [await asyncio.to_thread(self._retrieve, claim.claim_data.get("sha256", "")) for claim in claims]

    async def trim(self, older_than: float) -> int:
        try:
            return await asyncio.to_thread(self._trim, time.time() - older_than)
        except OSError as error:
            raise RecordsUnavailable(
                f"encryption.external.folder: {self._folder}: {error.strerror}. Let the worker remove files there."
            ) from error

    def _trim(self, before: float) -> int:
        removed = 0
        for path in self._folder.glob("??/*"):
            try:
                stored = path.stat().st_mtime
            except FileNotFoundError:  # another process wrote it under this name, and gave it its own meanwhile
                continue
            if stored < before:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _store(self, body: bytes) -> StorageDriverClaim:
        digest = hashlib.sha256(body).hexdigest()
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, written = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())  # the history will name it: it must be there after a power cut
        Path(written).replace(path)
        return StorageDriverClaim({"sha256": digest})

    def _retrieve(self, digest: str) -> Payload:
        if len(digest) != 64 or not digest.isalnum():
            raise ContentMissing("payload: the history names no stored payload as ours are named.")
        try:
            body = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise ContentMissing(
                f"payload: {digest} is not in {self._folder}. Does every worker reach that folder?"
            ) from None
        if hashlib.sha256(body).hexdigest() != digest:
            raise ContentMissing(f"payload: {digest} in {self._folder} is damaged. Put back a copy of it.")
        return Payload.FromString(body)


class BucketPayloads(S3StorageDriver, OutsidePayloads):
    """A bucket that every process of the site reaches, one object a payload."""

    def __init__(self, client: _S3Client, bucket: str) -> None:
        super().__init__(client, bucket, driver_name="parley.s3")
        self._s3, self._name_of_bucket = client, bucket

    async def trim(self, older_than: float) -> int:
        before = datetime.fromtimestamp(time.time() - older_than, UTC)
        return await asyncio.to_thread(self._s3.remove_before, self._name_of_bucket, before)


class _S3Client(S3StorageDriverClient):
    """boto3 in threads. The SDK's own adapter is for aioboto3, whose pins exclude ours."""

    def __init__(self, given: ExternalSettings) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise SettingsFault(
                f"encryption.external.store: s3 needs {error.name}, which is not installed. "
                "Run `pip install 'parley[s3]'`.",
                field="encryption.external.store",
            ) from None
        # Servers that only speak S3's language know few of its newer checksums, and no buckets as host names.
        own = {"s3": {"addressing_style": "path"}} if given.endpoint else {}
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 3, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=32,
            **own,
        )
        self._s3: Any = boto3.client("s3", endpoint_url=given.endpoint, region_name=given.region, config=config)

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            await asyncio.to_thread(self._s3.head_object, Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "404":
                return False
            raise
        return True

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        await asyncio.to_thread(self._s3.upload_fileobj, io.BytesIO(data), bucket, key)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        found = await asyncio.to_thread(self._s3.get_object, Bucket=bucket, Key=key)
        return await asyncio.to_thread(found["Body"].read)

    def remove_before(self, bucket: str, moment: datetime) -> int:
        """One by one: to remove many at once, servers ask for checksums that not all of them agree on. Gives how many.
        Raises RecordsUnavailable."""
        from botocore.exceptions import BotoCoreError, ClientError

        removed = 0
        try:
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=OURS):
                for found in page.get("Contents", ()):
                    if found["LastModified"] < moment:
                        self._s3.delete_object(Bucket=bucket, Key=found["Key"])
                        removed += 1
        except (BotoCoreError, ClientError) as error:
            raise RecordsUnavailable(
                f"encryption.external.bucket: {bucket}: {error}. Let the key list the bucket and delete objects in it."
            ) from error
        return removed
