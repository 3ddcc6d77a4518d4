"""`benchmarks protection` in its quick form: every way of a turn, every level of the audit, and figures that hold."""

from __future__ import annotations

import pytest

from benchmarks import protection


@pytest.mark.full
async def test_turns_and_rows_are_measured_beside_those_in_clear() -> None:
    """Sealed, a turn is longer in its history; stored outside, its long payloads are no longer in it."""
    result = await protection.run(quick=True)
    histories = {(row["size"], row["way"]): row["bytes_per_turn"]["median"] for row in result["turns"]}
    assert len(histories) == len(protection.WAYS) * len(protection.SIZES)
    assert all(row["cpu_to_plain"]["median"] == 1 for row in result["turns"] if row["way"] == "plain")
    for size in protection.SIZES:
        assert histories[size, "sealed"] > histories[size, "plain"]
    long = next(size for size, length in protection.SIZES.items() if length)
    assert histories[long, "outside"] < histories[long, "sealed"] / 2
    for figures in result["audit"].values():
        assert set(figures["rows_per_second"]) == set(protection.LEVELS)
        assert figures["verified_per_second"] > 0
    protection.table(result)
