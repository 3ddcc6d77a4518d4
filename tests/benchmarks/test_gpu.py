"""`python -m benchmarks.gpu`: what it measures is what it says, on a geometry that a CPU runs in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.geometry import GEOMETRIES, RandomWeights, random_decoder
from model_runtime.architecture import Architecture

_CPU = torch.device("cpu")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.full
def test_the_report_holds_every_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways of holding weights, every number of rows, each beside its roofline."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, value in (("ROWS", (1, 4)), ("HELD_TOKENS", 40), ("WIDTH", 64), ("STEPS", 2), ("PROMPT", 64)):
        monkeypatch.setattr(gpu, name, value)
    file = tmp_path / "gpu.json"
    assert gpu.main(["--small", "--json", str(file)]) == 0
    assert "decode, 4 rows" in capsys.readouterr().out
    result = json.loads(file.read_text("utf-8"))["results"]["gpu"]
    assert (result["device"], result["small"]) == ("cpu", True)
    assert min(result["copy_gb_per_second"], result["matmul_tflops"]) > 0
    assert [(case["held"], case["fits"]) for case in result["cases"]] == [("bf16", True), ("int4", True)]
    for case in result["cases"]:
        assert [row["rows"] for row in case["decode"]] == [1, 4]
        # keys and values in bf16: 2 layers, 2 key-value heads of 32
        assert all(r["step_bytes"] - case["step_weight_bytes"] == r["rows"] * 40 * 512 for r in case["decode"])
        for row in (*case["decode"], case["prefill"]):
            figures = row["tokens_per_second"]
            assert 0 < figures["least"] <= figures["median"] <= figures["greatest"]
            assert row["share"]["median"] == pytest.approx(figures["median"] / row["roofline"], abs=0.01)
        assert case["peak_bytes"] > 0


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what runs anywhere."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="--small"):
        gpu.measure()


@pytest.mark.usefixtures("one_thread")
def test_what_has_no_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of rows whose cache does not fit, and a model whose weights do not."""
    config, shape = GEOMETRIES["small"], Architecture.from_config(GEOMETRIES["small"])
    monkeypatch.setattr("model_runtime.cache.available_bytes", lambda device: 2 * 2 * 2 * 32 * 512 * 2)
    monkeypatch.setattr(gpu, "STEPS", 1)
    monkeypatch.setattr(gpu, "ROWS", (1, 2))
    case = gpu._case("small", "bf16", _CPU, 1e9, 1e9)
    assert [row["share"] is None for row in case["decode"]] == [False, True]
    assert gpu._against(None, 3.0)["tokens_per_second"] is None

    def no_room(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("benchmarks.geometry.random_decoder", no_room)
    assert not gpu._case("small", "bf16", _CPU, 1e9, 1e9)["fits"]
    assert shape.context == config["max_position_embeddings"]


@pytest.mark.parametrize(("name", "billions"), [("R1-Distill-Qwen-7B", 7.6), ("R1-Distill-Qwen-32B", 32.8)])
def test_the_geometries_are_those_of_the_models(name: str, billions: float) -> None:
    """Parameters as their model cards count them; nothing is allocated."""
    shape = Architecture.from_config(GEOMETRIES[name])
    weights = RandomWeights(shape, "bf16", _CPU)
    count = weights.step_bytes() / 2 + shape.vocabulary * shape.hidden
    assert count / 1e9 == pytest.approx(billions, abs=0.05)
    assert RandomWeights(shape, "int4", _CPU).step_bytes() < 0.4 * weights.step_bytes()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("held", ["bf16", "int4"])
def test_random_weights_make_finite_logits(held: str) -> None:
    """Infinities are quick to multiply on some devices and slow on others."""
    decoder = random_decoder(GEOMETRIES["small"], held, _CPU)  # type: ignore[arg-type]
    logits = decoder.prefill(list(range(50)), 0, decoder.place(64))
    assert bool(logits.isfinite().all())
    assert float(logits.float().std()) > 0
