"""The enclaves' manifest, rendered as ``gramine-manifest`` renders it, and the settings that are measured with it.

Gramine is not here: where it is, its own check is asked too. Nothing of this was run in an enclave.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jinja2
import pytest

from settings.load import load
from tests.support.ports import free_port
from tests.support.served import listening
from tests.support.sgx_platform import SgxPlatform

PROGRAMS = {"codec": ["codec"], "gateway": ["gateway"], "keys": ["keys", "serve"]}
BASE, PREFIX = Path(sys.base_prefix), Path(sys.prefix)
ARCH_LIBDIR = "/lib/x86_64-linux-gnu"
MISSING_HERE = ("/usr/bin/gramine-ratls",)
"""What only an installation of Gramine brings."""


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "docker" / "gramine"


@pytest.fixture
def environment(tmp_path: Path) -> jinja2.Environment:
    """The globals that Gramine's documentation gives to templates; an unknown name is an error there too."""
    (tmp_path / "runtime" / "glibc").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 TOML
    made.globals.update(
        gramine={"runtimedir": lambda libc="glibc": tmp_path / "runtime" / libc, "libos": tmp_path / "libsysdb.so"},
        python={"get_sys_path": _sys_path},
        ldd=_libraries,
        env={},
    )
    return made


def _sys_path(interpreter: str) -> Iterator[Path]:
    said = subprocess.check_output(
        [interpreter, "-c", "import sys; print('\\n'.join(filter(None, sys.path)))"], text=True
    )
    return (path for path in map(Path, said.splitlines()) if path.exists())


def _libraries(binary: str) -> list[str]:
    said = subprocess.check_output(["ldd", binary], text=True)
    return sorted(re.findall(r"(/\S+) \(0x", said))


@pytest.fixture
def render(environment: jinja2.Environment, folder: Path, tmp_path: Path) -> Any:
    template = environment.from_string((folder / "parley.manifest.template").read_text("utf-8"))

    def rendered(program: str, **more: str) -> dict[str, Any]:
        text = template.render(
            program=program, prefix=str(PREFIX), base=str(BASE), config=str(tmp_path / "config"),
            arch_libdir=ARCH_LIBDIR, **more,
        )  # fmt: skip
        return tomllib.loads(text)

    return rendered


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def manifest(program: str, render: Any) -> dict[str, Any]:
    return render(program)


def test_each_program_is_started_by_its_own_arguments(program: str, manifest: dict[str, Any]) -> None:
    """None are taken from the host. The last words are a command that there is."""
    argv = manifest["loader"]["argv"]
    python = argv[argv.index("--") + 1 :] if "--" in argv else argv
    assert python == [f"{PREFIX}/bin/python3", "-IBu", "-m", "cli.main", *PROGRAMS[program]]
    ended = subprocess.run([sys.executable, "-m", *python[3:], "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "insecure__use_cmdline_argv" not in manifest["loader"]


def test_texts_leave_the_enclave_by_a_key_that_was_made_in_it(program: str, manifest: dict[str, Any]) -> None:
    """Gateway and codec server speak TLS with gramine-ratls's key, in memory; the key service seals by itself."""
    wrapped = program != "keys"
    entry = "/usr/bin/gramine-ratls" if wrapped else f"{PREFIX}/bin/python3"
    assert manifest["libos"]["entrypoint"] == entry
    assert (manifest["loader"]["argv"][0] == "gramine-ratls") == wrapped
    assert {"path": "/tmp", "type": "tmpfs"} in manifest["fs"]["mounts"]  # noqa: S108 of the enclave


def test_it_is_a_production_enclave(program: str, manifest: dict[str, Any]) -> None:
    """No debugging, attestation by DCAP, no switch that Gramine calls insecure, sizes that Gramine takes."""
    sgx = manifest["sgx"]
    assert sgx["debug"] is False
    assert sgx["remote_attestation"] == "dcap"
    assert (sgx["isvprodid"], sgx["isvsvn"]) == (list(PROGRAMS).index(program) + 1, 1)
    size = re.fullmatch(r"(\d+)G", sgx["enclave_size"])
    assert size is not None
    assert int(size[1]).bit_count() == 1  # a power of two, as the processor wants it
    assert 16 <= sgx["max_threads"] <= 256
    assert [name for name in _names(manifest) if "insecure" in name or "debug__" in name] == []
    assert manifest["loader"]["log_level"] == "error"


def _names(table: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in table.items():
        yield f"{before}{name}"
        if isinstance(value, dict):
            yield from _names(value, f"{before}{name}.")


def test_the_host_may_say_nothing_but_where_the_database_is(manifest: dict[str, Any]) -> None:
    """A variable is a setting: one that names the provider of keys would undo the rest."""
    given = manifest["loader"]["env"]
    assert [name for name, value in given.items() if isinstance(value, dict)] == ["PARLEY_RECORDS__DATABASE"]
    assert "allowed_files" not in manifest["sgx"]


def test_every_trusted_file_is_there(manifest: dict[str, Any]) -> None:
    """In this installation, Gramine's own binary aside; a folder ends with a slash, a file does not."""
    paths = [uri.removeprefix("file:") for uri in manifest["sgx"]["trusted_files"]]
    missing = [path for path in paths if not Path(path).exists() and path not in MISSING_HERE]
    assert missing == []
    assert [path for path in paths if Path(path).exists() and Path(path).is_dir() != path.endswith("/")] == []


def test_what_is_loaded_is_measured(manifest: dict[str, Any]) -> None:
    """Interpreter, standard library and packages lie below a trusted path, and each trusted path below a mount."""
    trusted = [uri.removeprefix("file:") for uri in manifest["sgx"]["trusted_files"]]
    import cryptography
    import granian

    needed = [
        f"{PREFIX}/bin/python3",
        f"{PREFIX}/pyvenv.cfg",
        tomllib.__file__,
        cryptography.__file__,
        granian.__file__,
    ]
    assert [path for path in needed if not _below(path, trusted)] == []
    mounts = [mount["uri"].removeprefix("file:") for mount in manifest["fs"]["mounts"] if "uri" in mount]
    assert [path for path in trusted if not _below(path, [f"{mount}/" for mount in mounts] + mounts)] == []


def test_the_interpreters_own_library_comes_before_the_systems(manifest: dict[str, Any]) -> None:
    """A distribution's libpython of the same version would otherwise be loaded in its place, and does not fit."""
    searched = manifest["loader"]["env"]["LD_LIBRARY_PATH"].split(":")
    assert searched == ["/lib", f"{BASE}/lib", ARCH_LIBDIR, f"/usr{ARCH_LIBDIR}"]


def _below(path: str, folders: list[str]) -> bool:
    return any(path == folder or (folder.endswith("/") and path.startswith(folder)) for folder in folders)


def test_keys_on_the_disk_are_sealed(render: Any) -> None:
    """The key service's alone are, by a key of the processor's; the others have none there: their data is memory."""
    for program in PROGRAMS:
        mounts = render(program)["fs"]["mounts"]
        encrypted = [mount for mount in mounts if mount.get("type") == "encrypted"]
        assert [(mount["path"], mount["key_name"]) for mount in encrypted] == (
            [("/var/lib/parley/keys", "_sgx_mrsigner")] if program == "keys" else []
        )
        assert {"path": "/var/lib/parley", "type": "tmpfs"} in mounts


def test_without_sgx_the_same_program_runs_bare(render: Any) -> None:
    """For gramine-direct: what asks the processor is left out, and nothing else."""
    bare, whole = render("codec", attestation="none"), render("codec")
    assert bare["libos"]["entrypoint"] == f"{PREFIX}/bin/python3"
    assert whole["loader"]["argv"][-len(bare["loader"]["argv"]) :] == bare["loader"]["argv"]
    assert bare["loader"]["env"] == whole["loader"]["env"]


def test_the_settings_are_right_and_hold_no_secret(folder: Path) -> None:
    """Enclaves get their keys by attestation and believe the issuer alone; the service names machines and builds."""
    enclave, keys = load(folder / "temporal.yaml", {}), load(folder / "temporal.keys.yaml", {})
    assert enclave.encryption.provider == "attested"
    assert not enclave.encryption.accept_plain
    assert enclave.access.mode == "tokens"
    assert enclave.gateway.tls is not None
    assert keys.encryption.provider == "local"
    assert keys.records.database == enclave.records.database  # `parley keys rotate` finds the data keys there
    assert keys.key_service.platforms
    assert sorted(keys.key_service.enclaves) == ["codec", "gateway"]
    assert {each.product for each in keys.key_service.enclaves.values()} == {1, 2}
    assert keys.key_service.root_certificate is not None


REMOVED = ("torch", "transformers", "accelerate", "faiss", "sentence_transformers", "sklearn", "scipy", "gguf")


def test_what_the_image_leaves_out_is_not_imported(repository: Path) -> None:
    """Codec server, gateway and key service start without the packages that only models and knowledge need."""
    text = (repository / "docker" / "Dockerfile.gramine").read_text("utf-8")
    line = re.search(r"pip uninstall --yes (.+)", text)
    assert line is not None
    names = {"faiss-cpu": "faiss", "scikit-learn": "sklearn"}
    assert [names.get(name, name.replace("-", "_")) for name in line[1].split()] == list(REMOVED)
    program = (
        f"import sys\nfor name in {REMOVED!r}: sys.modules[name] = None\n"
        "import gateway.codec_serve, gateway.serve, gateway.key_serve, records.attested_keys\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.full
@pytest.mark.skipif(shutil.which("gramine-direct") is None, reason="Gramine is not installed")
async def test_the_key_service_answers_under_gramine_direct(folder: Path, tmp_path: Path) -> None:
    """Without SGX, and with memory for a disk: it starts, gives a challenge, and ends when it is told to."""
    config, port = tmp_path / "config", free_port()
    config.mkdir()
    SgxPlatform().write_root(config)
    (config / "temporal.keys.yaml").write_text(
        f"data: /var/lib/parley\nencryption: {{provider: local}}\nkey_service:\n  port: {port}\n"
        f"  root_certificate: sgx-root-ca.pem\n  enclaves: {{codec: {{mrenclave: '{'e1' * 32}'}}}}\n"
    )
    given = {"program": "keys", "prefix": PREFIX, "base": BASE, "config": config, "arch_libdir": ARCH_LIBDIR}
    defined = [f"-D{name}={value}" for name, value in {**given, "attestation": "none"}.items()]
    manifest = [*defined, folder / "parley.manifest.template", tmp_path / "parley-keys.manifest"]
    await asyncio.to_thread(subprocess.run, ["gramine-manifest", *manifest], check=True)
    process = await asyncio.create_subprocess_exec("gramine-direct", "parley-keys", cwd=tmp_path)
    try:
        await listening(port, seconds=120)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            nonce = (await http.post("/v1/challenge")).json()["nonce"]
        assert len(base64.b64decode(nonce)) == 56
    finally:
        process.terminate()
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.full
def test_gramines_own_check_passes(program: str, folder: Path, tmp_path: Path) -> None:
    """Where Gramine is installed."""
    gramine = pytest.importorskip("graminelibos")
    (tmp_path / "config").mkdir()
    variables = {"program": program, "prefix": str(PREFIX), "base": str(BASE), "config": str(tmp_path / "config")}
    template = (folder / "parley.manifest.template").read_text("utf-8")
    gramine.Manifest.from_template(template, {**variables, "arch_libdir": ARCH_LIBDIR}).check()
