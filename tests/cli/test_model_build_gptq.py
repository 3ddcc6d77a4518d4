"""`parley model build --method gptq`: from a source to a published version, through an interpreter of its own.

gptqmodel is not installed here: a package of its name stands in for it (`tests/support/gptq_stand_in`), which rounds to
the nearest and writes the same format. All else is what runs with the real one.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.main import run
from model_runtime.loading import load
from model_runtime.prepare import prepare_model
from model_runtime.registry import Registry
from model_runtime.registry_store import FolderStore
from tests.model_runtime.conftest import TINY, model_folder, tiny_checkpoint
from tests.support.packed_checkpoints import gptq_tensors, known_layer, rewrite

__all__ = ["model_folder", "tiny_checkpoint"]

ROOT = Path(__file__).parents[2]
TEXT = "The lighthouse keeper climbed the stairs and lit the lamp. " * 200


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    (tmp_path / "temporal.yaml").write_text(f"intents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n")
    (tmp_path / "calibration.txt").write_text(TEXT)
    monkeypatch.setenv("PARLEY_CONFIG", str(tmp_path / "temporal.yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "var"


@pytest.fixture(autouse=True)
def whole_vocabulary(tiny_checkpoint: Path) -> None:
    """A tiny model that knows every token of its tokenizer, and says its type, as transformers asks."""
    file = tiny_checkpoint / "model.safetensors"
    vocabulary, generator = 49152, torch.Generator().manual_seed(2)
    weights = load_file(file)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.randn(vocabulary, TINY["hidden_size"], generator=generator) * 0.1
    save_file(weights, file)
    (tiny_checkpoint / "config.json").write_text(json.dumps(TINY | {"model_type": "llama", "vocab_size": vocabulary}))


def interpreter(folder: Path, packages: str) -> Path:
    """This one, in an environment that has other packages first."""
    made = folder / "python"
    made.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    made.chmod(0o755)
    return made


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    return interpreter(tmp_path, f"{ROOT / 'tests/support/gptq_stand_in'}:{ROOT}")


def line(source: Path, python: Path, *more: str) -> list[str]:
    options = ("--method", "gptq", "--calibration", "calibration.txt", "--python", str(python), "--group", "32")
    return ["model", "build", str(source), "--name", "tiny", *options, *more]


@pytest.mark.full
def test_a_model_is_quantized_measured_and_published(
    tiny_checkpoint: Path, stand_in: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record keeps by what it was calibrated; the manifest names the source, and nothing is left beside it."""
    held_out = tiny_checkpoint.parent / "held-out.txt"
    held_out.write_text(TEXT)
    assert run(line(tiny_checkpoint, stand_in, "--held-out", str(held_out), "--allowance", "9", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    registry = Registry(FolderStore(data_folder / "registry"))
    manifest = registry.verify("tiny", told["digest"])
    record = registry.record("tiny", told["digest"])
    assert record is not None
    made = record.more["gptq"]
    assert made.pop("calibration_tokens") % 512 == 0
    assert made == {
        "bits": 4,
        "group": 32,
        "calibration": "calibration.txt",
        "calibration_digest": hashlib.sha256(TEXT.encode()).hexdigest(),
        "gptqmodel": "0.0.stand-in",
    }
    assert (record.method, record.gate, record.source) == ("gptq", "passed", str(tiny_checkpoint))
    assert record.built_with["gptqmodel"] == "0.0.stand-in"
    assert manifest.source == str(tiny_checkpoint)
    assert not list((data_folder / "cache" / "builds").glob("tiny*"))
    assert not list((data_folder / "cache" / "builds").glob(".*making"))


@pytest.mark.full
def test_what_is_published_answers_nearly_as_the_source(
    tiny_checkpoint: Path, stand_in: Path, data_folder: Path, tmp_path: Path
) -> None:
    """Four bits of every layer came through the common format and back."""
    assert run(line(tiny_checkpoint, stand_in)) == 0
    (version,) = (data_folder / "registry").rglob("weights-001.safetensors")
    prepare_model(str(tiny_checkpoint), name="tiny", method="bf16", folder=tmp_path / "m")
    ids, logits = list(range(3, 40)), []
    for folder in (version.parent, tmp_path / "m" / "tiny-bf16"):
        decoder = load(folder, torch.device("cpu")).decoder
        logits.append(decoder.prefill(ids, 0, decoder.place(64)).float())
    assert float(torch.nn.functional.cosine_similarity(*logits, dim=0)) > 0.95


def test_a_checkpoint_of_gptq_needs_no_gptqmodel(
    tiny_checkpoint: Path, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is taken as it is; what it was in bf16 nobody knows here, so it is not compared."""
    told = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    source = rewrite(
        tiny_checkpoint, tmp_path / "of-others", told, lambda n, w: gptq_tensors(n, known_layer(*w.shape, 32))
    )
    build = ["model", "build", str(source), "--name", "tiny", "--method", "gptq"]
    assert run([*build, "--held-out", "calibration.txt"]) != 0
    assert "no longer holds" in capsys.readouterr().err
    assert run(build) == 0
    assert "is published · gptq" in capsys.readouterr().out


def test_without_an_interpreter_it_says_how_to_make_one(
    tiny_checkpoint: Path, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None given, one that is none, and one without gptqmodel; nothing is built first."""
    without = line(tiny_checkpoint, tmp_path)
    place = without.index("--python")
    assert run(without[:place] + without[place + 2 :]) == 1
    assert "pip install --no-deps gptqmodel==7.7.0" in capsys.readouterr().err
    assert run(without) == 1
    assert "is no interpreter. Make one: python3.11 -m venv" in capsys.readouterr().err
    assert not (data_folder / "cache" / "builds").exists()
    assert run(line(tiny_checkpoint, interpreter(tmp_path, str(tmp_path)))) == 1
    assert "cannot import gptqmodel (ModuleNotFoundError" in capsys.readouterr().err


def test_gptqmodel_that_fails_is_told_with_its_log(
    tiny_checkpoint: Path, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception by its words; a process that just ends by its exit code. Nothing is published."""
    packages = tmp_path / "packages"
    (packages / "gptqmodel").mkdir(parents=True)
    for code, words in (("", "AttributeError"), ("import os; os._exit(7)", "its process ended with 7")):
        (packages / "gptqmodel" / "__init__.py").write_text(code)
        assert run(line(tiny_checkpoint, interpreter(tmp_path, str(packages)))) == 1
        shown = capsys.readouterr().err
        assert words in shown
        assert "tiny-gptq.log has its own words" in shown
    assert not list((data_folder / "registry").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--method", "int8", "--calibration", "calibration.txt"], "--calibration: only for --method gptq"),
        (["--method", "int4", "--group", "128"], "--group: only for --method gptq, and this is int4"),
        (["--method", "bf16", "--bits", "4"], "--bits: only for --method gptq, and this is bf16"),
        (["--bits", "4", "--group", "32"], "--bits and --group: only for --method gptq, and this is int8"),
        (["--method", "gptq", "--group", "32"], "--group: only to quantize, and --calibration is missing"),
        (["--method", "gptq", "--python", "python"], "--calibration is missing"),
        (["--method", "gptq", "--python", sys.executable, "--calibration", "nowhere.txt"], "cannot be read as text"),
        (["--method", "gptq"], "is not quantized"),
    ],
)
def test_options_that_do_not_meet(
    tiny_checkpoint: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each refusal says what to type."""
    assert run(["model", "build", str(tiny_checkpoint), "--name", "tiny", *more]) != 0
    assert words in capsys.readouterr().err


def test_a_group_that_fits_no_layer_is_refused_before_the_work(
    tiny_checkpoint: Path, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gptqmodel would work for long, and what it made could not be held. It is not even started here."""
    never = interpreter(tmp_path, str(tmp_path))
    given = line(tiny_checkpoint, never)
    given[given.index("--group") + 1] = "128"
    assert run(given) == 1
    assert "--group: 128 does not divide the" in capsys.readouterr().err
    assert not (data_folder / "registry").exists()


def test_a_calibration_text_of_a_few_words_is_refused(
    tiny_checkpoint: Path, stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With how much is wanted."""
    (tmp_path / "calibration.txt").write_text("Hello.")
    assert run(line(tiny_checkpoint, stand_in)) == 1
    assert "Give at least 128" in capsys.readouterr().err
