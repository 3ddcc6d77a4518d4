"""What the gate adds is counted: in characters, in pieces, in microseconds."""

from __future__ import annotations

from benchmarks import gate


async def test_the_wait_of_each_language_is_counted() -> None:
    """English waits for the end of a word, Chinese hardly at all."""
    result = await gate.run(quick=True)
    assert [row["language"] for row in result["rows"]] == ["en", "zh"]
    for row in result["rows"]:
        assert row["characters_waited"]["p50"] <= 8
        assert 0 < row["at_once"] < 1
    assert gate.table(result).row_count == 3
