"""The probe's outcome: kept for the very same engine, looked at again, and never believed when damaged or refuted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import model_runtime.probe
from model_runtime.architecture import Architecture
from model_runtime.cache import Pool
from model_runtime.decoder import Decoder
from model_runtime.loading import load
from model_runtime.prepare import prepare_model
from model_runtime.probe import extents_equal, kept_extents_equal
from model_runtime.slot_engine import SlotEngine

ROWS, WIDTHS = 4, (64, 128)


@pytest.fixture
def tiny_folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path)
    return tmp_path / "tiny-int8"


@pytest.fixture
def decoder(tiny_folder: Path) -> Decoder:
    return load(tiny_folder, torch.device("cpu")).decoder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each decode step covered."""
    done: list[int] = []
    decode: Callable[..., Tensor] = Decoder.decode

    def counted(self: Decoder, ids: list[int], lengths: list[int], pools: list[Pool | None]) -> Tensor:
        done.append(len(ids))
        return decode(self, ids, lengths, pools)

    monkeypatch.setattr(Decoder, "decode", counted)
    return done


def test_a_second_start_looks_at_one_width_alone(decoder: Decoder, tmp_path: Path, steps: list[int]) -> None:
    """All rows, one row, and one row less than all; the first start looked at every number at every width."""
    first = kept_extents_equal(decoder, ROWS, WIDTHS, tmp_path / "cache", ["model"])
    assert first is True
    assert steps == [4, 1, 2, 3] * 2
    steps.clear()
    assert kept_extents_equal(decoder, ROWS, WIDTHS, tmp_path / "cache", ["model"]) is first
    assert steps == [4, 1, 3]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"equal": true, "digest": "00"}', None])
def test_a_damaged_outcome_is_measured_again(
    decoder: Decoder, tmp_path: Path, steps: list[int], content: str | None
) -> None:
    """Also one whose answer alone was changed (``None``); it is right afterwards."""
    kept_extents_equal(decoder, ROWS, WIDTHS, tmp_path / "cache", [])
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "equal": False}) if content is None else content)
    steps.clear()
    assert kept_extents_equal(decoder, ROWS, WIDTHS, tmp_path / "cache", []) is True
    assert len(steps) == 2 * ROWS
    assert path.read_text() == whole


@pytest.mark.parametrize("change", ["decisive", "rows", "widths", "processor", "code"])
def test_the_outcome_of_another_engine_is_not_taken(
    decoder: Decoder, tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Other weights, kernels or shapes, another processor, other code: measured."""
    kept_extents_equal(decoder, ROWS, WIDTHS, tmp_path / "cache", ["model"])
    steps.clear()
    if change == "processor":
        monkeypatch.setattr(model_runtime.probe, "_processor", lambda: ["another"])
    if change == "code":
        monkeypatch.setattr(model_runtime.probe, "_own_code", lambda: "another")
    rows = ROWS - 1 if change == "rows" else ROWS
    widths = WIDTHS[:1] if change == "widths" else WIDTHS
    kept_extents_equal(decoder, rows, widths, tmp_path / "cache", ["other" if change == "decisive" else "model"])
    assert len(steps) == len(widths) * rows
    assert len(list((tmp_path / "cache").iterdir())) == 2


class Shifting:
    """A decoder whose kernels sum in another order for fewer than all rows, from when it is told so."""

    def __init__(self, shape: Architecture) -> None:
        self.shape, self.device, self.dtype = shape, torch.device("cpu"), torch.float32
        self.shifts = False

    def decode(self, ids: list[int], lengths: list[int], pools: list[Pool | None]) -> Tensor:
        error = 1e-6 if self.shifts and len(ids) < ROWS else 0.0
        return torch.ones(len(ids), 8) + error


def test_an_outcome_that_does_not_hold_is_measured_again(decoder: Decoder, tmp_path: Path) -> None:
    """Equality is looked at, at every start; that there is none is believed, for it costs speed and no token."""
    shifting = Shifting(decoder.shape)
    seen = []
    for shifts in (False, True, False):
        shifting.shifts = shifts
        seen.append(kept_extents_equal(shifting, ROWS, WIDTHS, tmp_path / "cache", []))  # type: ignore[arg-type]
    assert seen == [True, False, False]


def test_one_row_is_equal_to_itself(decoder: Decoder, tmp_path: Path, steps: list[int]) -> None:
    """There is nothing to compare; the step warms the kernels up."""
    assert [kept_extents_equal(decoder, 1, WIDTHS, tmp_path / "cache", []) for _ in range(2)] == [True, True]
    assert steps == [1, 1, 1]


def test_nothing_need_be_kept(decoder: Decoder, tmp_path: Path) -> None:
    """Without a folder, or where the folder cannot be made, it is measured as ever."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    folders = (None, in_the_way)
    assert [kept_extents_equal(decoder, ROWS, WIDTHS, folder, []) for folder in folders] == [True, True]
    assert extents_equal(decoder, ROWS, WIDTHS) is True


async def test_an_engine_keeps_it_and_stays_the_same_engine(
    tiny_folder: Path, tmp_path: Path, steps: list[int]
) -> None:
    """The engine's digest does not tell whether the outcome was measured or kept."""
    described, made = [], []
    for _ in range(2):
        engine = SlotEngine(tiny_folder, rows=ROWS, widths=WIDTHS, threads=1, cache_folder=tmp_path / "cache")
        steps.clear()
        await engine.start()
        described.append(await engine.describe())
        made.append(len(steps))
        await engine.close()
    assert described[0] == described[1]
    assert made == [8, 3]
