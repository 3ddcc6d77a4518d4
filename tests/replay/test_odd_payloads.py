"""Payloads of any client: nothing that it sends ends a command, or is told as an edit."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from dialogue.faults import HistoryLocked, HistoryUnreadable
from records.codec import ENCODING
from records.payloads import data_converter
from replay.exact import history_exact
from replay.histories import from_file
from tests.replay.kept import MAIL, kept_site
from tests.replay.made import SIGNALED, completion_of, payload, recorded, signalling, spoiled


def _nested(levels: int) -> bytes:
    return b"[" * levels + f'"{MAIL}"'.encode() + b"]" * levels


@pytest.mark.parametrize(
    "signalled",
    [
        payload(_nested(480)),
        payload(_nested(3000)),
        payload(b"{nonsense"),
        payload(MAIL.encode(), b"text/plain"),
        payload(MAIL.encode(), b""),
        payload(b"\x8f" * 64, b"binary/encrypted"),
    ],
    ids=["deep", "deeper", "no JSON", "unknown encoding", "no encoding", "of a stranger's codec"],
)
def test_what_somebody_signals_ends_no_command(
    signalled: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The turns are told, the history is the same, the scan of its day goes on, and a redacted bundle holds no
    address."""
    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, "odd-signals")))
    odd, out = spoiled(tmp_path, "odd-signals", signalling(signalled)), tmp_path / "incident.zip"
    assert run(["replay", "show", "--file", str(odd), "--json"]) == 0
    assert [each["verdict"] for each in json.loads(capfd.readouterr().out)["turns"]] == ["pass", "pass"]
    assert run(["replay", "scan", str(odd), *map(str, recorded("refused")), "--jobs", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["counts"] == {"same": 2, "differs": 0, "unchecked": 0}
    assert run(["replay", "export", "--file", str(odd), "--out", str(out), "--redact"]) == 4
    assert run(["replay", "verify", "--bundle", str(out)]) == 0
    with zipfile.ZipFile(out) as packed:
        signals = [each[SIGNALED] for each in json.loads(packed.read("histories/1.json"))["events"] if SIGNALED in each]
    assert MAIL.encode() not in base64.b64decode(signals[0]["input"]["payloads"][0]["data"])
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("encoding", [ENCODING, b"json/external-storage-reference"], ids=["sealed", "outside"])
async def test_a_signal_that_is_sealed_or_stored_outside_needs_its_site(tmp_path: Path, encoding: bytes) -> None:
    """What the workflow was given is not what stands in the history."""
    held = await from_file(spoiled(tmp_path, "odd-signals", signalling(payload(b"{}", encoding))), data_converter)
    (problem,) = held.problems
    assert isinstance(problem, HistoryLocked)
    assert "(WORKFLOW_EXECUTION_SIGNALED) cannot be decoded" in problem.message
    assert (await history_exact(held)).state == "unchecked"


async def test_a_step_whose_result_cannot_be_looked_through_is_not_said_to_be_edited(tmp_path: Path) -> None:
    """It is unchecked, and named."""

    def change(events: list[Any]) -> None:
        completion_of("recognise_intent", events)["result"]["payloads"] = [payload(_nested(3000))]

    held = await from_file(spoiled(tmp_path, "normal", change), data_converter)
    (problem,) = held.problems
    assert isinstance(problem, HistoryUnreadable)
    assert "(ACTIVITY_TASK_COMPLETED) holds a payload that is nested too deeply" in problem.message
    assert (await history_exact(held)).state == "unchecked"
