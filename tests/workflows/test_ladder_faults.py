"""Which faults the ladder takes for a poor result once their attempts are used up."""

from __future__ import annotations

from dialogue.faults import ModelFault, all_faults
from workflows.ladder import _POOR_OF


def test_no_trouble_of_an_engine_that_passes_fails_a_turn() -> None:
    """What Temporal attempts again may go on for longer than that: then a rung answers, such as quoting."""
    models = {name for name, fault in all_faults().items() if issubclass(fault, ModelFault) and fault.retryable}
    passing = {name for name in models if name.startswith("engine-")}  # the others are of bringing a model in
    assert {"engine-lost", "engine-hung", "engine-busy"} == passing
    assert {_POOR_OF.get(name) for name in passing} == {"engine_lost"}
