"""`model.source: registry:NAME@VERSION`: the version that is named now stands in the models folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue.faults import ModelCorrupt, ModelFault, NoSuchVersion, RegistryUnavailable
from model_runtime.fetched import fetch_model, standing_version
from model_runtime.model_store import verify
from model_runtime.registry import Registry, folder_of
from model_runtime.registry_index import Reference
from model_runtime.registry_store import Document, FolderStore
from tests.model_runtime.registries import prepared

PROD = "registry:tiny@prod"


class Cut(FolderStore):
    """A store whose line can be cut."""

    cut = False

    def read(self, path: str) -> Document | None:
        if self.cut:
            raise RegistryUnavailable("registry.location: nobody answers there")
        return super().read(path)


@pytest.fixture
def store(tmp_path: Path) -> Cut:
    return Cut(tmp_path / "store")


@pytest.fixture
def registry(store: Cut) -> Registry:
    return Registry(store)


@pytest.fixture
def digests(registry: Registry, tmp_path: Path) -> list[str]:
    """Two versions; the first is `prod`."""
    found = [
        registry.publish("tiny", prepared(tmp_path / "made" / each, each.encode()), by="ann").digest for each in "ab"
    ]
    registry.promote(Reference("tiny", found[0]), "prod", by="ann")
    return found


def test_an_alias_is_followed(registry: Registry, digests: list[str], tmp_path: Path) -> None:
    """Fetched once, and again when it was set to another version; what stood there goes."""
    one, two = digests
    target, told = tmp_path / "models" / "mine-int8", list[str]()
    assert standing_version(registry, PROD, target, "int8") is None
    assert fetch_model(registry, PROD, target=target, method="int8").manifest.digest == one
    assert verify(target).digest == one
    fetch_model(registry, PROD, target=target, method="int8", progress=lambda text, share: told.append(text))
    assert told == []
    registry.promote(Reference("tiny", two), "prod", by="ann")
    assert standing_version(registry, PROD, target, "int8") is None
    fetch_model(registry, PROD, target=target, method="int8", progress=lambda text, share: told.append(text))
    assert set(told) == {f"fetching tiny@{two[:12]}"}
    assert verify(target).digest == two
    assert [path.name for path in target.parent.iterdir() if path.is_dir()] == [target.name]


def test_a_site_starts_without_its_registry(registry: Registry, store: Cut, digests: list[str], tmp_path: Path) -> None:
    """With what the same alias named last, and says so; a whole digest needs no registry; another alias does."""
    target = tmp_path / "models" / "mine-int8"
    fetch_model(registry, PROD, target=target, method="int8")
    store.cut = True
    found = fetch_model(registry, PROD, target=target, method="int8")
    assert (found.manifest.digest, found.note) == (digests[0], "as fetched before: the registry is unavailable")
    assert fetch_model(registry, f"registry:tiny@{digests[0]}", target=target, method="int8").note == ""
    with pytest.raises(RegistryUnavailable):
        fetch_model(registry, "registry:tiny@canary", target=target, method="int8")
    assert verify(target).digest == digests[0]


def test_what_is_held_otherwise_is_refused(registry: Registry, digests: list[str], tmp_path: Path) -> None:
    """The setting says what every table shows, so it has to be true."""
    with pytest.raises(ModelFault, match=r"model\.quantization is int4, and tiny@prod is held as int8") as told:
        fetch_model(registry, PROD, target=tmp_path / "models" / "mine-int4", method="int4")
    assert told.value.field == "model.quantization"


def test_a_damaged_version_is_not_used(registry: Registry, digests: list[str], tmp_path: Path) -> None:
    """What stood there before stays."""
    one, two = digests
    target = tmp_path / "models" / "mine-int8"
    fetch_model(registry, PROD, target=target, method="int8")
    (tmp_path / "store" / folder_of("tiny", two) / "config.json").write_text("[]")
    registry.promote(Reference("tiny", two), "prod", by="ann")
    with pytest.raises(ModelCorrupt, match=r"config\.json"):
        fetch_model(registry, PROD, target=target, method="int8")
    assert verify(target).digest == one
    with pytest.raises(NoSuchVersion):
        fetch_model(registry, "registry:other@prod", target=tmp_path / "models" / "other-int8", method="int8")
