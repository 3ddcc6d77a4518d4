"""Payloads in a bucket of a real server that speaks S3 (rclone's)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, ExternalStorage

from dialogue.faults import RecordsUnavailable
from records.payload_store import BucketPayloads, external_storage
from settings.schema import EncryptionSettings, ExternalSettings, Settings
from tests.support.ports import free_port
from tests.support.s3_server import ACCESS_KEY, SECRET_KEY, s3_server


def _settings(folder: Path, endpoint: str) -> Settings:
    external = ExternalSettings(store="s3", bucket="payloads", endpoint=endpoint, threshold=1024)
    return Settings(data=folder, encryption=EncryptionSettings(provider="local", external=external))


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExternalStorage]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (tmp_path / "payloads").mkdir()
    with s3_server(tmp_path) as endpoint:
        found = external_storage(_settings(tmp_path, endpoint))
        assert found is not None
        yield found


async def test_long_payloads_go_to_the_bucket_and_come_back(storage: ExternalStorage, tmp_path: Path) -> None:
    """The history has a claim with their digest; short ones stay where they are."""
    converter = DataConverter(external_storage=storage)
    long, short = "语" * 40_000, "short"
    payloads = await converter.encode([long, short])
    assert payloads[0].ByteSize() < 1024
    assert payloads[1].data == b'"short"'
    assert await converter.decode(payloads) == [long, short]
    (stored,) = objects(tmp_path / "payloads")
    assert Payload.FromString(stored.read_bytes()).data.startswith(b'"')
    assert await converter.encode([long]) == payloads[:1]
    assert len(objects(tmp_path / "payloads")) == 1


async def test_objects_go_with_their_time(storage: ExternalStorage, tmp_path: Path) -> None:
    """Those that were stored so long ago, and no others; what else lies in the bucket stays. One that cannot be reached
    is told of."""
    converter = DataConverter(external_storage=storage)
    old = await converter.encode(["old " * 1000])
    (stored,) = objects(tmp_path / "payloads")
    beside = tmp_path / "payloads" / "notes.txt"
    beside.write_text("of somebody else")
    long_ago = time.time() - 9 * 86_400
    for path in (stored, beside):
        os.utime(path, (long_ago, long_ago))
    young = await converter.encode(["young " * 1000])
    (driver,) = storage.drivers
    assert isinstance(driver, BucketPayloads)
    assert await driver.trim(20 * 86_400) == 0
    assert await driver.trim(5 * 86_400) == 1
    assert beside.exists()
    assert await converter.decode(young) == ["young " * 1000]
    with pytest.raises(RuntimeError, match="retrieve failed"):
        await converter.decode(old)
    other = external_storage(_settings(tmp_path, f"http://127.0.0.1:{free_port()}"))
    assert other is not None
    (driver,) = other.drivers
    assert isinstance(driver, BucketPayloads)
    with pytest.raises(RecordsUnavailable, match=r"^encryption\.external\.bucket: payloads: Could not connect"):
        await driver.trim(5 * 86_400)


async def test_an_object_that_was_changed_or_lost_is_not_decoded(storage: ExternalStorage, tmp_path: Path) -> None:
    """It is held against the digest in the history."""
    converter = DataConverter(external_storage=storage)
    payloads = await converter.encode(["x" * 4000])
    (stored,) = objects(tmp_path / "payloads")
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="integrity"):
        await converter.decode(payloads)
    stored.unlink()
    with pytest.raises(RuntimeError, match="retrieve failed"):
        await converter.decode(payloads)


def objects(bucket: Path) -> list[Path]:
    return [path for path in bucket.rglob("*") if path.is_file()]
