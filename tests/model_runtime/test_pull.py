"""Models are brought in whole or not at all, from servers that break off, lie, change their mind and say no."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dialogue.faults import DownloadFailed, DownloadRefused, InvalidRequest, ModelCorrupt, ModelFault, UnsafeModel
from model_runtime.download import Patience
from model_runtime.model_store import MANIFEST, FileRecord, load_manifest, overall_digest, verify
from model_runtime.pull import PULLED, Pulled, Source, parse_source, pull
from tests.model_runtime.registries import prepared, safetensors
from tests.support.file_server import PIECE, FileServer, Served, file_server
from tests.support.hub import COMMIT, serve_hub

ROOT = Path(__file__).parents[2]
WEIGHTS = random.Random(1).randbytes(1 << 20)
FILE = "/tiny/weights-001.safetensors"
TOKEN = "hf_very-secret"
QUICK = Patience(attempts=3, seconds=0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture
def made(tmp_path: Path, server: FileServer) -> Path:
    """A prepared model with a megabyte of weights, given at ``/tiny``."""
    folder = prepared(tmp_path / "made", WEIGHTS)
    serve(server, folder)
    return folder


def serve(server: FileServer, folder: Path) -> None:
    for file in folder.iterdir():
        server.files[f"/tiny/{file.name}"] = Served(file.read_bytes())


def bring(server: FileServer, tmp_path: Path, **how: Any) -> Pulled:
    return pull(Source(f"{server.url}/tiny"), tmp_path / "in", patience=QUICK, **how)


def test_a_prepared_model_comes_whole(server: FileServer, made: Path, tmp_path: Path) -> None:
    """Every file with its digest, in one folder, nothing beside it; the second time only the manifest is asked for."""
    told: list[tuple[int, int]] = []
    pulled = bring(server, tmp_path, told=lambda *far: told.append(far))
    assert verify(pulled.folder) == load_manifest(made) == pulled.manifest
    assert told[-1] == (pulled.bytes, pulled.bytes)
    assert [path.name for path in pulled.folder.parent.iterdir() if path.is_dir()] == [pulled.folder.name]
    assert {path.name for path in pulled.folder.iterdir()} == {path.name for path in made.iterdir()}
    server.asked.clear()
    assert bring(server, tmp_path) == pulled
    assert [asked.path for asked in server.asked] == [f"/tiny/{MANIFEST}"]


def test_files_come_several_at_once(server: FileServer, made: Path, tmp_path: Path) -> None:
    """As many as is said: neither of these two ends before the other has begun."""
    both = threading.Barrier(2)
    for name in ("config.json", "weights-001.safetensors"):
        server.files[f"/tiny/{name}"].together = both
    verify(bring(server, tmp_path, parallel=4).folder)
    assert not both.broken


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For an address that nobody here could reach."""
    server.files = {f"http://models.invalid{path}": served for path, served in server.files.items()}
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    pulled = pull(Source("http://models.invalid/tiny"), tmp_path / "in", patience=QUICK)
    verify(pulled.folder)


def test_a_connection_that_drops_is_gone_on_with(server: FileServer, made: Path, tmp_path: Path) -> None:
    """At the very byte, three times in one file; not one byte is sent twice."""
    served = server.files[FILE]
    served.drops = [100_000, 1, 300_001]
    pulled = bring(server, tmp_path)
    verify(pulled.folder)
    ranges = [asked.headers.get("range") for asked in server.requests(FILE)]
    assert ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=400002-"]
    assert [asked.headers.get("if-range") for asked in server.requests(FILE)] == [None, *[served.etag] * 3]
    assert sum(count for path, count in server.sent if path == FILE) == len(served.body)


def test_a_server_that_always_breaks_off_is_given_up(server: FileServer, made: Path, tmp_path: Path) -> None:
    """What came is kept for the next time, and nothing stands under the model's name."""
    server.files[FILE].drops = [100_000, *[0] * 20]
    with pytest.raises(DownloadFailed, match="what came is kept"):
        bring(server, tmp_path)
    assert not [path for path in (tmp_path / "in").iterdir() if path.is_dir() and path.name.startswith("tiny")]
    server.files[FILE].drops = []
    server.asked.clear()
    verify(bring(server, tmp_path).folder)
    assert [asked.headers["range"] for asked in server.requests(FILE)] == ["bytes=100000-"]


@pytest.mark.parametrize("difference", [500, -500_000, -1])
def test_a_length_that_is_a_lie_is_not_believed(
    server: FileServer, made: Path, tmp_path: Path, difference: int
) -> None:
    """Too long: the connection ends and all is there. Too short: the rest is asked for."""
    served = server.files[FILE]
    served.declared = [len(served.body) + difference]
    verify(bring(server, tmp_path).folder)


def test_a_range_that_is_ignored_starts_over(server: FileServer, made: Path, tmp_path: Path) -> None:
    """The whole file comes again, from its first byte, and is not put behind what was there."""
    served = server.files[FILE]
    served.ranges, served.drops = False, [200_000]
    verify(bring(server, tmp_path).folder)
    assert [count for path, count in server.sent if path == FILE] == [200_000, len(served.body)]


def test_a_file_that_changes_between_attempts_starts_over(server: FileServer, made: Path, tmp_path: Path) -> None:
    """Its ETag says so, and the parts of two files are never joined."""
    served = server.files[FILE]
    other = Served(bytes(len(served.body)), drops=[200_000, 0, 0, 0, 0])
    server.files[FILE] = other
    with pytest.raises(DownloadFailed):
        bring(server, tmp_path)
    server.files[FILE] = served
    verify(bring(server, tmp_path).folder)
    last = server.requests(FILE)[-1].headers
    assert (last["range"], last["if-range"]) == ("bytes=200000-", other.etag)
    assert server.sent[-1] == (FILE, len(served.body))


def test_without_an_etag_the_digest_decides(server: FileServer, made: Path, tmp_path: Path) -> None:
    """Parts of two files, joined because nothing told them apart, are found out and brought anew."""
    served = server.files[FILE]
    server.files[FILE] = Served(bytes(len(served.body)), etag="", drops=[200_000, 0, 0, 0, 0])
    with pytest.raises(DownloadFailed):
        bring(server, tmp_path)
    server.files[FILE] = replace(served, etag="")
    verify(bring(server, tmp_path).folder)
    assert [count for path, count in server.sent if path == FILE][-2:] == [len(served.body) - 200_000, len(served.body)]


@pytest.mark.parametrize("change", ["flip", "longer", "shorter"])
def test_what_differs_from_the_manifest_is_refused(server: FileServer, made: Path, tmp_path: Path, change: str) -> None:
    """One byte is enough. Nothing of it is kept, and nothing stands under the model's name."""
    body = server.files[FILE].body
    wrong = {"flip": bytes([body[0] ^ 1]) + body[1:], "longer": b"x" + body, "shorter": body[:-1]}[change]
    server.files[FILE] = Served(wrong)
    with pytest.raises(ModelCorrupt, match=r"weights-001\.safetensors"):
        bring(server, tmp_path)
    (pulling,) = [path for path in (tmp_path / "in").iterdir() if path.is_dir()]
    assert pulling.name.endswith(".pulling")
    assert not list(pulling.glob("weights*"))


@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [
        (401, DownloadRefused, "PARLEY_MODEL_TOKEN"),
        (403, DownloadRefused, "may not read it"),
        (404, DownloadRefused, "no such file"),
        (429, DownloadFailed, "429 again and again"),
        (503, DownloadFailed, "503 again and again"),
    ],
)
@pytest.mark.parametrize("path", [FILE, f"/tiny/{MANIFEST}"])
def test_a_server_that_says_no_is_named(
    server: FileServer, made: Path, tmp_path: Path, status: int, fault: type[ModelFault], words: str, path: str
) -> None:
    """With its address and the way out; a no is asked once, and one that may pass several times."""
    server.files[path].statuses = [status] * 50
    with pytest.raises(fault, match=words) as told:
        bring(server, tmp_path)
    assert f"{server.url}{path}" in told.value.message
    assert len(told.value.message.splitlines()) == 1
    assert fault is DownloadFailed or len(server.requests(path)) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_asked_again(server: FileServer, made: Path, tmp_path: Path, status: int) -> None:
    """After as long as it says."""
    server.files[FILE].statuses, server.files[FILE].retry_after = [status, status], "0"
    verify(bring(server, tmp_path).folder)
    assert len(server.requests(FILE)) == 3


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is made on the disk."""
    with file_server() as server:
        pass
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1.*network"):
        bring(server, tmp_path)
    assert not (tmp_path / "in").exists()


def test_the_token_is_shown_to_its_server_alone(server: FileServer, made: Path, tmp_path: Path) -> None:
    """A file that is elsewhere is fetched from there without it, also where the part goes on."""
    server.token = TOKEN
    with file_server() as elsewhere:
        elsewhere.files["/blob"] = Served(server.files[FILE].body, drops=[1000])
        server.files[FILE].redirect = f"{elsewhere.url}/blob"
        verify(bring(server, tmp_path, token=TOKEN).folder)
        assert [asked.headers.get("range") for asked in elsewhere.asked] == [None, "bytes=1000-"]
        assert not [asked for asked in elsewhere.asked if "authorization" in asked.headers]
    assert all(asked.headers["authorization"] == f"Bearer {TOKEN}" for asked in server.asked)


def test_a_wrong_token_is_in_no_message(server: FileServer, made: Path, tmp_path: Path) -> None:
    """Nor in the chain of what led to it."""
    server.token = "another"
    with pytest.raises(DownloadRefused) as told:
        bring(server, tmp_path, token=TOKEN)
    assert TOKEN not in repr(told.getrepr(chain=True)) + str(told.getrepr(showlocals=False))


def test_without_room_nothing_is_asked_for(server: FileServer, made: Path, tmp_path: Path) -> None:
    """The manifest says how much it will be."""
    manifest = load_manifest(made)
    files = {**manifest.files, "weights-002.safetensors": FileRecord("0" * 64, 10**16)}
    huge = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    server.files[f"/tiny/{MANIFEST}"] = Served(huge.to_json().encode())
    with pytest.raises(ModelFault, match=r"10000001\.1 GB|10000000\.0 GB are needed.*nothing was written"):
        bring(server, tmp_path)
    assert [asked.path for asked in server.asked] == [f"/tiny/{MANIFEST}"]
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("name", ["../../evil.json", "a/b.json", "/etc/x.json", "model.pkl", "run.py", ".json"])
def test_a_manifest_cannot_name_paths_or_programs(server: FileServer, made: Path, tmp_path: Path, name: str) -> None:
    """Refused before anything is asked for or written."""
    manifest = load_manifest(made)
    files = {**manifest.files, name: FileRecord("0" * 64, 1)}
    evil = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    server.files[f"/tiny/{MANIFEST}"] = Served(evil.to_json().encode())
    with pytest.raises(UnsafeModel):
        bring(server, tmp_path)
    assert not (tmp_path / "in").exists()


def test_a_pickle_under_another_name_is_refused(server: FileServer, tmp_path: Path) -> None:
    """Its digest is right, and it is no safetensors all the same."""
    folder = prepared(tmp_path / "made")
    manifest, body = load_manifest(folder), b"\x80\x04K\x01."
    files = {**manifest.files, "weights-001.safetensors": FileRecord(hashlib.sha256(body).hexdigest(), len(body))}
    (folder / "weights-001.safetensors").write_bytes(body)
    changed = replace(manifest, files=files, digest=overall_digest(files, manifest.method))
    (folder / MANIFEST).write_text(changed.to_json())
    serve(server, folder)
    with pytest.raises(UnsafeModel, match="no safetensors file"):
        bring(server, tmp_path)


HUB_FILES = {
    "model.safetensors": safetensors(WEIGHTS[:100_000]),
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
    "added_tokens.json": b"",
    "pytorch_model.bin": b"pickle",
    "modeling_custom.py": b"import os",
    "README.md": b"# Hello",
    "onnx/model.safetensors": b"x",
}


@pytest.fixture
def hub(server: FileServer) -> FileServer:
    """``lab/tiny`` with a revision ``main``."""
    serve_hub(server, "lab/tiny", "main", HUB_FILES)
    return server


def from_hub(hub: FileServer, tmp_path: Path, **how: Any) -> Pulled:
    return pull(Source(hub.url, "lab/tiny", "main"), tmp_path / "in", patience=QUICK, **how)


def test_a_checkpoint_comes_from_a_hub(hub: FileServer, tmp_path: Path) -> None:
    """Of one commit; weights, JSON, tokenizer and template. Pickles and code are refused, each with a reason."""
    hub.token = TOKEN
    pulled = from_hub(hub, tmp_path, token=TOKEN)
    assert (pulled.commit, pulled.manifest) == (COMMIT, None)
    taken = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "added_tokens.json"}
    assert {path.name for path in pulled.folder.iterdir()} == {*taken, PULLED}
    assert all((pulled.folder / name).read_bytes() == HUB_FILES[name] for name in taken)
    why = dict(pulled.left_out)
    assert why["pytorch_model.bin"] == why["modeling_custom.py"] == "refused: it runs code when it is read"
    assert {"README.md", "onnx/model.safetensors"} <= set(why)
    account = json.loads((pulled.folder / PULLED).read_text())
    assert account["commit"] == COMMIT
    sha256 = hashlib.sha256(HUB_FILES["config.json"]).hexdigest()
    assert account["files"]["config.json"] == {"sha256": sha256, "bytes": len(HUB_FILES["config.json"])}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_hub_that_gives_other_bytes_is_found_out(hub: FileServer, tmp_path: Path, name: str) -> None:
    """By the SHA-256 of a large file, and by git's digest of a small one."""
    path = f"/lab/tiny/resolve/{COMMIT}/{name}"
    body = hub.files[path].body
    hub.files[path] = Served(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(ModelCorrupt, match=name):
        from_hub(hub, tmp_path)


def test_a_hub_without_safetensors_gives_nothing(hub: FileServer, tmp_path: Path) -> None:
    """Pickles do not take their place."""
    entry = {"type": "file", "oid": "0" * 40, "size": 6, "path": "pytorch_model.bin"}
    hub.files[f"/api/models/lab/tiny/tree/{COMMIT}?recursive=true"] = Served(json.dumps([entry]).encode())
    with pytest.raises(ModelFault, match="holds no safetensors"):
        from_hub(hub, tmp_path)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"sha": "main"}', b"{}"])
def test_what_is_no_hub_is_named(hub: FileServer, tmp_path: Path, body: bytes) -> None:
    """With the setting that says where it is."""
    hub.files["/api/models/lab/tiny/revision/main"] = Served(body)
    with pytest.raises(DownloadRefused, match=r"no hub's answer.*pull\.hub"):
        from_hub(hub, tmp_path)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("lab/tiny@main", Source("http://hub", "lab/tiny", "main")),
        ("https://host/a/manifest.json", Source("https://host/a")),
        ("https://host/a/", Source("https://host/a")),
    ],
)
def test_a_source_is_an_address_or_a_name_on_a_hub(text: str, source: Source) -> None:
    """With a revision, always: what is current elsewhere is no version."""
    assert parse_source(text, "http://hub/") == source


@pytest.mark.parametrize("text", ["lab/tiny", "tiny@main", "../tiny@main", "https://u:secret@host/a", "ftp://host/a"])
def test_what_is_no_source_is_refused(text: str) -> None:
    """Without repeating a password."""
    with pytest.raises(InvalidRequest) as told:
        parse_source(text, "http://hub")
    assert "secret" not in told.value.message


def test_a_killed_pull_goes_on_where_it_was(server: FileServer, tmp_path: Path) -> None:
    """`kill -9` of a real `parley model pull` at random bytes: each next one asks for exactly what is not there yet."""
    folder = prepared(tmp_path / "made", random.Random(2).randbytes(6 << 20))
    serve(server, folder)
    config = tmp_path / "temporal.yaml"
    config.write_text("")
    environment = {**os.environ, "PARLEY_CONFIG": str(config), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "cli.main", "model", "pull", f"{server.url}/tiny"]
    served, chance = server.files[FILE], random.Random(7)
    kept: list[int] = []
    for _ in range(3):
        served.holds_at = chance.randrange(100_000, 1_400_000)
        wanted = (kept[-1] if kept else 0) + chance.randrange(1, served.holds_at // PIECE * PIECE)
        server.holding, server.go_on = threading.Event(), threading.Event()
        with subprocess.Popen(line, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
            assert server.holding.wait(30)
            _until(lambda wanted=wanted: _kept(tmp_path) >= wanted)
            child.send_signal(signal.SIGKILL)
        server.go_on.set()
        kept.append(_kept(tmp_path))
    served.holds_at = None
    ended = subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    starts = [int(asked.headers.get("range", "bytes=0-")[6:-1]) for asked in server.requests(FILE)]
    assert starts == [0, *kept]
    assert kept == sorted(set(kept))
    # what is sent twice is what the dead process had not read yet, which it held nowhere but in its connection
    twice = sum(count for path, count in server.sent if path == FILE) - len(served.body)
    print(f"\nkept {kept}, sent twice {twice} of {len(served.body)} bytes")  # noqa: T201 - shown with -s
    assert 0 <= twice <= len(kept) * 1_400_000
    (there,) = (tmp_path / "var" / "registry" / "models" / "tiny").iterdir()
    verify(there)


def _kept(data: Path) -> int:
    parts = [*(data / "var" / "checkpoints").glob(".*.pulling/weights-001.safetensors.part")]
    return parts[0].stat().st_size if parts else 0


def _until(condition: Callable[[], bool]) -> None:
    """What another process has written, no event tells."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
