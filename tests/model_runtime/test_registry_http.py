"""What is particular to a registry on a raw HTTP store; what every registry does is in test_registry.py."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dialogue.faults import RegistryFault, RegistryUnavailable
from model_runtime.download import Patience
from model_runtime.fetched import fetch_model
from model_runtime.model_store import verify
from model_runtime.registry import Registry
from model_runtime.registry_http import HttpStore
from model_runtime.registry_index import Reference
from model_runtime.registry_store import Document
from tests.model_runtime.registries import prepared
from tests.support.raw_store import RawStore, raw_store

QUICK = Patience(3, 0.001)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RawStore]:
    with raw_store(tmp_path / "store", token="secret") as server:
        yield server


@pytest.fixture
def store(server: RawStore) -> HttpStore:
    return HttpStore(server.url, token="secret", patience=QUICK)


class Late(HttpStore):
    """Another writer gets in between what this one reads and what it writes, once."""

    other: Callable[[], object] | None = None

    def replace(self, path: str, body: bytes, before: Document | None) -> bool:
        if (other := self.other) is not None:
            self.other = None
            other()
        return super().replace(path, body, before)


def test_a_writer_that_was_late_does_it_again(server: RawStore, tmp_path: Path) -> None:
    """Its change comes on top of the other's, whose version is still there: 412 tells it."""
    store = Late(server.url, token="secret")
    mine, other = Registry(store), Registry(HttpStore(server.url, token="secret"))
    store.other = lambda: other.publish("tiny", prepared(tmp_path / "b", b"b"), by="bob")
    mine.publish("tiny", prepared(tmp_path / "a", b"a"), by="ann")
    assert {version.by for version in other.index().models["tiny"].versions.values()} == {"ann", "bob"}


def test_a_store_without_conditions_works_too(server: RawStore, store: HttpStore, tmp_path: Path) -> None:
    """For one writer at a time, which is what the documentation asks of it."""
    server.conditional = False
    registry = Registry(store)
    digest = registry.publish("tiny", prepared(tmp_path / "a"), by="ann").digest
    registry.promote(Reference("tiny", digest), "prod", by="ann")
    assert registry.resolve(Reference("tiny", "prod")) == digest


def test_a_user_s_token_is_a_password(tmp_path: Path) -> None:
    """As repository managers want it."""
    wanted = f"Basic {base64.b64encode(b'ann:secret').decode()}"
    with raw_store(tmp_path / "store", authorization=wanted) as server:
        registry = Registry(HttpStore(server.url, user="ann", token="secret", patience=QUICK))
        digest = registry.publish("tiny", prepared(tmp_path / "a"), by="ann").digest
        registry.fetch("tiny", digest, tmp_path / "models" / "tiny")
        assert {authorization for _, _, authorization in server.asked} == {wanted}
    verify(tmp_path / "models" / "tiny")


@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [
        (401, RegistryFault, "PARLEY_REGISTRY_TOKEN"),
        (403, RegistryFault, "right"),
        (405, RegistryFault, "nothing be written"),
        (413, RegistryFault, "too large"),
        (503, RegistryUnavailable, "503"),
    ],
)
def test_a_store_that_says_no_is_named(
    server: RawStore, store: HttpStore, tmp_path: Path, status: int, fault: type[RegistryFault], words: str
) -> None:
    """With its address and the way out, in one line, without the token."""
    server.statuses = [status] * 9
    with pytest.raises(fault, match=words) as told:
        Registry(store).publish("tiny", prepared(tmp_path / "a"), by="ann")
    assert told.value.message.startswith(f"registry.location: {server.url}/")
    assert "secret" not in told.value.message


def test_a_store_that_fails_once_is_asked_again(server: RawStore, store: HttpStore, tmp_path: Path) -> None:
    """Nobody has to type the command twice."""
    server.statuses = [502, 503]
    assert Registry(store).publish("tiny", prepared(tmp_path / "a"), by="ann").new


def test_a_store_that_is_gone_keeps_no_site_from_starting(tmp_path: Path) -> None:
    """What was fetched before is used; without that it is a fault that names the setting."""
    with raw_store(tmp_path / "store") as server:
        registry = Registry(HttpStore(server.url, patience=QUICK))
        digest = registry.publish("tiny", prepared(tmp_path / "a"), by="ann").digest
        registry.promote(Reference("tiny", digest), "prod", by="ann")
        target = tmp_path / "models" / "tiny-int8"
        fetch_model(registry, "registry:tiny@prod", target=target, method="int8")
    found = fetch_model(registry, "registry:tiny@prod", target=target, method="int8")
    assert (found.manifest.digest, found.note) == (digest, "as fetched before: the registry is unavailable")
    with pytest.raises(RegistryUnavailable, match=r"registry\.location.*does not answer"):
        fetch_model(registry, "registry:tiny@prod", target=tmp_path / "models" / "other-int8", method="int8")
