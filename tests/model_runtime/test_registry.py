"""What every registry does, whatever keeps its files: one suite for a folder and for a raw HTTP store."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dialogue.faults import (
    InvalidRequest,
    ModelCorrupt,
    ModelFault,
    NoSuchVersion,
    PromotionRefused,
    RegistryConflict,
    RegistryFault,
    RegistryUnavailable,
    UnsafeModel,
)
from model_runtime.build_record import BuildRecord
from model_runtime.download import Patience
from model_runtime.model_store import MANIFEST, FileRecord, file_digest, load_manifest, overall_digest, verify
from model_runtime.registry import Registry, folder_of, now
from model_runtime.registry_gc import collect
from model_runtime.registry_http import HttpStore
from model_runtime.registry_index import Reference, parse_reference
from model_runtime.registry_store import FolderStore, Store
from tests.model_runtime.registries import prepared, safetensors
from tests.support.raw_store import raw_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store's files are in the end, to look at and to damage."""
    return tmp_path / "store"


@pytest.fixture(params=["folder", "http"])
def store(request: pytest.FixtureRequest, root: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield FolderStore(root)
        return
    with raw_store(root, token="secret") as server:
        yield HttpStore(f"{server.url}/", token="secret", patience=Patience(3, 0.001))


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def publish(registry: Registry, tmp_path: Path, *weights: bytes) -> list[str]:
    """Versions of `tiny`, one for each content."""
    return [
        registry.publish("tiny", prepared(tmp_path / "made" / content.hex(), content), by="ann").digest
        for content in weights
    ]


def test_a_version_is_published_listed_and_fetched(registry: Registry, tmp_path: Path) -> None:
    """What comes out is what went in, byte for byte, and the manifest says so."""
    folder = prepared(tmp_path / "made")
    made = registry.publish("tiny", folder, by="ann")
    assert made.new
    assert registry.index().models["tiny"].versions[made.digest].by == "ann"
    told: list[tuple[int, int]] = []
    fetched = registry.fetch("tiny", made.digest, tmp_path / "models" / "tiny", lambda *far: told.append(far))
    assert verify(tmp_path / "models" / "tiny") == fetched == load_manifest(folder)
    assert told[-1][0] == told[-1][1] == sum(file.bytes for file in fetched.files.values())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


def test_an_empty_registry_holds_nothing(registry: Registry) -> None:
    """Asked for a model it says that it has none, and how to look."""
    assert registry.index().models == {}
    with pytest.raises(NoSuchVersion, match=r"tiny: the registry has no such model; it has none yet.*model list"):
        registry.resolve(Reference("tiny", "prod"))


def test_publishing_again_does_nothing(registry: Registry, tmp_path: Path) -> None:
    """The first publisher and time stay; built at another time with other versions it is the same model."""
    first = registry.publish("tiny", prepared(tmp_path / "a"), by="ann")
    again = registry.publish("tiny", prepared(tmp_path / "b", built_seconds=9.0, built_with={}), by="bob")
    assert (again.digest, again.new) == (first.digest, False)
    assert registry.index().models["tiny"].versions[first.digest].by == "ann"
    assert registry.manifest("tiny", first.digest).built_seconds == 0.1


def test_another_content_under_the_same_digest_is_refused(registry: Registry, tmp_path: Path) -> None:
    """The same files declared to speak or to think otherwise are another model; files that differ are damaged."""
    digest = registry.publish("tiny", prepared(tmp_path / "a"), by="ann").digest
    with pytest.raises(RegistryConflict, match=rf"tiny@{digest[:12]} .* another languages, reasoning"):
        registry.publish("tiny", prepared(tmp_path / "b", languages=("zh",), reasoning="r1"), by="ann")
    damaged = prepared(tmp_path / "c")
    (damaged / "weights-001.safetensors").write_bytes(safetensors(b"WEIGHTS"))
    with pytest.raises(ModelCorrupt, match=r"weights-001\.safetensors (differs|is not the file)"):
        registry.publish("tiny", damaged, by="ann")
    assert registry.manifest("tiny", digest).languages == ("en",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl", "modeling.py", "a/b.safetensors", "../x.json"])
def test_pickles_code_and_paths_are_never_taken(registry: Registry, tmp_path: Path, name: str) -> None:
    """A manifest that names one is refused before a byte of it is brought in."""
    folder = prepared(tmp_path / "made" / "it")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"weights")
    manifest = load_manifest(folder)
    weights = manifest.files["weights-001.safetensors"]
    files = {**manifest.files, name: FileRecord(weights.sha256, weights.bytes)}
    changed = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    (folder / MANIFEST).write_text(changed.to_json())
    with pytest.raises(UnsafeModel, match="safetensors, JSON"):
        registry.publish("tiny", folder, by="ann")
    assert registry.index().models == {}


def test_a_pickle_called_safetensors_is_refused(registry: Registry, tmp_path: Path) -> None:
    """The name alone convinces nobody."""
    folder = prepared(tmp_path / "made")
    (folder / "weights-001.safetensors").write_bytes(pickle.dumps({"w": 1}))
    manifest = load_manifest(folder)
    weights = folder / "weights-001.safetensors"
    files = {**manifest.files, weights.name: FileRecord(file_digest(weights), weights.stat().st_size)}
    changed = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    (folder / MANIFEST).write_text(changed.to_json())
    with pytest.raises(UnsafeModel, match="is no safetensors file"):
        registry.publish("tiny", folder, by="ann")


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer.json"])
def test_the_template_and_the_tokenizer_are_part_of_the_digest(registry: Registry, tmp_path: Path, file: str) -> None:
    """The same weights behind another chat template are no longer this version."""
    made = prepared(tmp_path / "a")
    (made / file).write_text("{ }")
    with pytest.raises(ModelCorrupt, match=file):
        registry.publish("tiny", made, by="ann")


def test_an_alias_is_set_and_put_back(registry: Registry, tmp_path: Path) -> None:
    """Every move is kept with who, when and why; rolling back twice goes two steps back."""
    one, two, three = publish(registry, tmp_path, b"1", b"2", b"3")
    assert registry.promote(Reference("tiny", one), "prod", by="ann") == (one, None)
    assert registry.promote(Reference("tiny", two[:8]), "prod", by="ann", reason="better") == (two, one)
    assert registry.promote(Reference("tiny", two), "prod", by="ann") == (two, two)
    assert registry.promote(Reference("tiny", three), "prod", by="ann") == (three, two)
    assert registry.resolve(parse_reference("registry:tiny@prod")) == three
    assert registry.rollback("tiny", "prod", by="bob", reason="slow") == (two, three)
    assert registry.rollback("tiny", "prod", by="bob") == (one, two)
    with pytest.raises(NoSuchVersion, match="there was no version before"):
        registry.rollback("tiny", "prod", by="bob")
    moves = registry.index().models["tiny"].aliases["prod"].moves
    assert [(move.digest, move.by, move.how, move.reason) for move in moves] == [
        (one, "ann", "promote", ""),
        (two, "ann", "promote", "better"),
        (three, "ann", "promote", ""),
        (two, "bob", "rollback", "slow"),
        (one, "bob", "rollback", ""),
    ]
    assert all(move.at.endswith("Z") for move in moves)
    registry.promote(Reference("tiny", "prod"), "canary", by="ann")
    assert registry.resolve(Reference("tiny", "canary")) == one


@pytest.mark.parametrize("alias", ["", "Prod", "1st", "a b", "deadbeef", "x" * 33, "../x", "a@b"])
def test_what_is_no_alias_is_refused(registry: Registry, tmp_path: Path, alias: str) -> None:
    """Above all what could be taken for a digest."""
    (digest,) = publish(registry, tmp_path, b"1")
    with pytest.raises(InvalidRequest, match="alias"):
        registry.promote(Reference("tiny", digest), alias, by="ann")


@pytest.mark.parametrize("text", ["tiny", "tiny@", "@prod", "ti/ny@prod", "tiny@PROD", "tiny@abc1234@x"])
def test_what_names_no_version_is_refused(text: str) -> None:
    """With what would."""
    with pytest.raises(InvalidRequest, match="NAME@ALIAS or NAME@DIGEST"):
        parse_reference(text)


def test_a_version_that_failed_its_gate_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    """Except by force, with a reason that is kept. What others wrote into the record stays."""
    folder = prepared(tmp_path / "made")
    record = BuildRecord.of(load_manifest(folder), by="ann", at=now())
    digest = registry.publish("tiny", folder, by="ann", record=record).digest
    assert registry.record("tiny", digest) == record
    failed = replace(record, quality={"perplexity_after": 99.0}, gate="failed", more={"card": "H100"})
    registry.write_record("tiny", digest, failed)
    assert registry.record("tiny", digest) == failed
    reference = Reference("tiny", digest)
    with pytest.raises(PromotionRefused, match=r"its gate failed.*--force --reason"):
        registry.promote(reference, "prod", by="ann")
    with pytest.raises(PromotionRefused):
        registry.promote(reference, "prod", by="ann", force=True)
    registry.promote(reference, "prod", by="ann", force=True, reason="demo")
    assert registry.index().models["tiny"].aliases["prod"].moves[0].reason == "demo"


def test_a_record_that_cannot_be_read_passes_no_gate(registry: Registry, store: Store, tmp_path: Path) -> None:
    """Otherwise a damaged record would let through what had failed."""
    (digest,) = publish(registry, tmp_path, b"1")
    for body in (b"{", b'{"gate": "maybe"}', b"[]"):
        store.write(f"{folder_of('tiny', digest)}/build.json", body)
        with pytest.raises(RegistryFault, match=r"build\.json cannot be read"):
            registry.promote(Reference("tiny", digest), "prod", by="ann")


def test_every_byte_is_verified(registry: Registry, root: Path, tmp_path: Path) -> None:
    """One flipped byte is found by verify and by fetch, which leaves nothing under the model's name; so is a loss."""
    (digest,) = publish(registry, tmp_path, b"12345678")
    registry.verify("tiny", digest)
    weights = root / folder_of("tiny", digest) / "weights-001.safetensors"
    weights.write_bytes(safetensors(b"12345679"))
    for act in (
        lambda: registry.verify("tiny", digest),
        lambda: registry.fetch("tiny", digest, tmp_path / "models" / "tiny"),
    ):
        with pytest.raises(ModelCorrupt, match=r"weights-001\.safetensors (differs|is not the file)"):
            act()
    assert not (tmp_path / "models" / "tiny").exists()
    weights.unlink()
    with pytest.raises(ModelCorrupt, match=r"weights-001\.safetensors is missing"):
        registry.verify("tiny", digest)


def test_a_manifest_of_another_version_is_not_believed(registry: Registry, root: Path, tmp_path: Path) -> None:
    """Whole in itself, but not what the registry's index names."""
    one, two = publish(registry, tmp_path, b"1", b"2")
    manifest = root / folder_of("tiny", two) / MANIFEST
    (root / folder_of("tiny", one) / MANIFEST).write_bytes(manifest.read_bytes())
    with pytest.raises(ModelCorrupt, match="another version's"):
        registry.fetch("tiny", one, tmp_path / "models" / "tiny")
    manifest.unlink()
    with pytest.raises(ModelCorrupt, match=r"manifest\.json is missing"):
        registry.verify("tiny", two)


def test_an_index_that_cannot_be_read_is_left_alone(registry: Registry, root: Path, tmp_path: Path) -> None:
    """Nobody writes over it, for it may be mended; names in it that lead elsewhere are none."""
    publish(registry, tmp_path, b"1")
    version = {"method": "int8", "bytes": 1, "by": "eve", "at": "now"}
    bodies = (
        '{"format": 1, "models": []}',
        "{",
        json.dumps({"format": 2, "models": {}}),
        json.dumps({"format": 1, "models": {"../x": {"versions": {}, "aliases": {}}}}),
        json.dumps({"format": 1, "models": {"x": {"versions": {"../../x": version}, "aliases": {}}}}),
        json.dumps({"format": 1, "models": {"x": {"versions": {}, "aliases": {"prod": {"moves": []}}}}}),
    )
    for number, body in enumerate(bodies):
        (root / "index.json").write_text(body)
        with pytest.raises(RegistryFault, match=r"index\.json cannot be read"):
            publish(registry, tmp_path / "again" / str(number), b"2")
        assert (root / "index.json").read_text() == body


def test_writers_at_once_all_get_through(registry: Registry, tmp_path: Path) -> None:
    """Eight publish and set an alias each at the same time: all versions and all moves are there."""
    folders = [prepared(tmp_path / "made" / str(number), bytes([number])) for number in range(8)]

    def write(folder: Path) -> None:
        digest = registry.publish("tiny", folder, by="ann").digest
        registry.promote(Reference("tiny", digest), "prod", by="ann")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, folders))
    model = registry.index().models["tiny"]
    assert len(model.versions) == len(model.aliases["prod"].moves) == 8


def test_what_nobody_needs_is_collected(registry: Registry, root: Path, tmp_path: Path) -> None:
    """Aliases, their last places, kept answers and settings hold a version; a dry run removes nothing."""
    old, answered, before, current, unused = publish(registry, tmp_path, b"1", b"2", b"3", b"4", b"5")
    for digest in (old, answered, before, current):
        registry.promote(Reference("tiny", digest), "prod", by="ann")
    needed = {answered: "3 kept answers name it"}
    shown = collect(registry, needed=needed, history=2, delete=False)
    assert {each.digest: each.why for each in shown if each.stays} == {
        current: "prod is set to it",
        before: "prod was set to it, among its last 2",
        answered: "3 kept answers name it",
    }
    assert len(registry.index().models["tiny"].versions) == 5
    done = collect(registry, needed=needed, history=2, delete=True)
    assert {each.digest for each in done if each.removed} == {old, unused}
    assert set(registry.index().models["tiny"].versions) == {answered, before, current}
    for digest in (old, unused):
        assert [path for path in (root / folder_of("tiny", digest)).rglob("*") if path.is_file()] == []
    for digest in (answered, before, current):
        registry.verify("tiny", digest)
    assert registry.rollback("tiny", "prod", by="ann")[0] == before
    with pytest.raises(NoSuchVersion):
        registry.resolve(Reference("tiny", unused))


def test_a_removal_that_broke_off_is_gone_on_with(registry: Registry, root: Path, tmp_path: Path) -> None:
    """Meanwhile nobody can name the version, set an alias to it or publish it; afterwards it can be published anew."""
    one, two = publish(registry, tmp_path, b"1", b"2")
    (root / folder_of("tiny", one) / "config.json").unlink()

    def begun(index) -> None:
        versions = index.models["tiny"].versions
        versions[one] = replace(versions[one], removing=True)

    registry.change(begun)
    with pytest.raises(NoSuchVersion):
        registry.promote(Reference("tiny", one), "prod", by="ann")
    with pytest.raises(RegistryUnavailable, match="is being removed"):
        publish(registry, tmp_path / "again", b"1")
    done = collect(registry, needed={one: "a setting names it", two: "a setting names it"}, history=1, delete=True)
    assert [each.digest for each in done if each.removed] == [one]
    assert publish(registry, tmp_path / "at last", b"1") == [one]
    registry.verify("tiny", one)


def test_an_alias_that_is_set_meanwhile_holds(registry: Registry, tmp_path: Path) -> None:
    """It is decided again in the moment of removing."""
    (digest,) = publish(registry, tmp_path, b"1")
    assert registry.remove("tiny", digest, lambda index: "prod is set to it") == "prod is set to it"
    registry.verify("tiny", digest)


def test_without_room_nothing_is_written(registry: Registry, store: Store, root: Path, tmp_path: Path) -> None:
    """The size is known beforehand."""
    folder = prepared(tmp_path / "made")
    manifest = load_manifest(folder)
    files = {**manifest.files, "weights-002.safetensors": FileRecord("0" * 64, 10**16)}
    huge = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    registry.publish("tiny", folder, by="ann")
    store.write(f"{folder_of('tiny', huge.digest)}/{MANIFEST}", huge.to_json().encode())
    with pytest.raises(ModelFault, match=r"10000000\.0 GB are needed.*nothing was written"):
        registry.fetch("tiny", huge.digest, tmp_path / "models" / "tiny")
    assert not list((tmp_path / "models").iterdir())
