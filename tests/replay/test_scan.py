"""Many histories at once: in processes, resumable, with reports."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

import replay.scan
from dialogue.faults import InvalidRequest
from records.payloads import data_converter
from replay.exact import HistoryExact
from replay.scan import Scan, junit, of_files, scan
from tests.replay.made import edited_result, recorded, spoiled


async def test_a_scan_goes_on_where_it_ended(tmp_path: Path) -> None:
    """What the state file knows is not replayed again, also where its last line was cut; what is new is."""
    state, told = tmp_path / "state.jsonl", list[HistoryExact]()
    first = await scan(of_files(recorded("normal", "cancelled")), data_converter, state=state, told=told.append)
    assert (first.known, len(told)) == (0, 2)
    state.write_text(state.read_text() + '{"key": "cut')
    again = await scan(
        of_files(recorded("normal", "cancelled", "refused")), data_converter, state=state, told=told.append
    )
    assert (again.known, len(told), len(again.results)) == (2, 3, 3)
    assert again.counts == {"same": 3, "differs": 0, "unchecked": 0}
    assert all(json.loads(line) for line in state.read_text().splitlines())
    assert (await scan(of_files(recorded("refused")), data_converter, state=state)).known == 1


async def test_what_other_code_verified_is_verified_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the workflows is what a scan is for; back at the code of before, its results are known again."""
    state = tmp_path / "state.jsonl"
    held = replay.scan.code_digest
    known: list[int] = []
    for code in (held, lambda _: "another", lambda _: "another", held):
        monkeypatch.setattr(replay.scan, "code_digest", code)
        known.append((await scan(of_files(recorded("refused")), data_converter, state=state)).known)
    assert known == [0, 0, 1, 1]
    state.write_text(state.read_text().splitlines()[0].replace('"code"', '"codes"') + "\n")  # as it was once written
    assert (await scan(of_files(recorded("refused")), data_converter, state=state)).known == 0


async def test_what_could_not_be_checked_is_tried_again(tmp_path: Path) -> None:
    """A key or a database that was away may be back; the file itself is the same."""
    state, nonsense = tmp_path / "state.jsonl", tmp_path / "nonsense.json"
    nonsense.write_text("{}")
    for _ in range(2):
        done = await scan(of_files([nonsense, *recorded("refused")]), data_converter, state=state)
        assert done.counts["unchecked"] == 1
    assert done.known == 1


async def test_a_file_that_changed_is_done_again(tmp_path: Path) -> None:
    """Its name alone does not say what it holds."""
    state = tmp_path / "state.jsonl"
    path = spoiled(tmp_path, "normal", lambda events: None)
    await scan(of_files([path]), data_converter, state=state)
    spoiled(tmp_path, "normal", lambda events: events.pop(8))
    again = await scan(of_files([path]), data_converter, state=state)
    assert (again.known, again.counts["differs"]) == (0, 1)


async def test_processes_give_the_same_results(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A broken file, an edited value and a file that is none are results, and stop no other; none prints a stack."""
    nonsense = tmp_path / "nonsense.json"
    nonsense.write_text("{}")
    paths = [*recorded("normal", "refused"), spoiled(tmp_path, "blocked", lambda events: events.pop(8)), nonsense]
    paths.append(spoiled(tmp_path, "cancelled", edited_result("receive_input", lambda v: v.update(tokens="many"))))
    alone = await scan(of_files(paths), data_converter)
    capfd.readouterr()
    together = await scan(of_files(paths), data_converter, jobs=2)
    assert "Traceback" not in capfd.readouterr().err
    assert together.results == alone.results
    assert alone.counts == {"same": 2, "differs": 1, "unchecked": 2}
    assert "event 7: the result of receive_input cannot be read (tokens: " in alone.results[-1].why
    suite = ElementTree.fromstring(junit(alone))  # noqa: S314 (our own)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("5", "1", "2")
    (failure,) = suite.iter("failure")
    assert "event 9 is missing" in (failure.get("message") or "")


class _Enough(Exception):
    """Whoever is told of the results wants no more of them."""


@pytest.mark.parametrize("ends", ["with an exception", "because it is cancelled"])
async def test_what_ends_a_scan_ends_its_replays(ends: str) -> None:
    """Whatever moment of theirs it comes in, none is left behind: one that is cancelled a second time, as the end of a
    command does with what is left, hangs."""
    scanning: asyncio.Task[Scan] | None = None

    def told(result: HistoryExact) -> None:
        if ends == "with an exception":
            raise _Enough
        assert scanning is not None
        scanning.cancel()

    for _ in range(5):
        scanning = asyncio.create_task(
            scan(of_files(recorded("refused", "normal", "failed")), data_converter, told=told)
        )
        with pytest.raises((_Enough, asyncio.CancelledError)):
            async with asyncio.timeout(20):
                await scanning
        left = [task.get_coro() for task in asyncio.all_tasks()]
        assert not [each for each in left if getattr(each, "__qualname__", "").startswith("scan.")]


def test_a_report_is_xml_whatever_a_history_holds() -> None:
    """Control characters and lone surrogates, which XML has no place for, are U+FFFD in names and texts."""
    texts = ["\0\x1b[31m", "\ud800", "问\t😀\n<"]
    same = {"workflow_id": "a", "run_id": "b", "events": 1, "turns": 0}
    results = tuple(HistoryExact(**same, source=each, state="unchecked", why=each) for each in texts)
    suite = ElementTree.fromstring(junit(Scan(results=results)).encode())  # noqa: S314 (our own)
    told = [each.text for each in suite.iter("error")]
    assert told == ["\ufffd\ufffd[31m", "\ufffd", "问\t😀\n<"]
    assert [each.get("name") for each in suite.iter("testcase")] == told
    assert [each.get("message") for each in suite.iter("error")] == told


@pytest.mark.parametrize("text", ["one\ntwo\n", "one\n", "one", "\xff\x00"])
async def test_a_state_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    """With its line; nothing is written into it."""
    state = tmp_path / "notes.txt"
    state.write_text(text, "latin-1")
    with pytest.raises(InvalidRequest, match=r"notes\.txt:1: it is no state file"):
        await scan(of_files(recorded("normal")), data_converter, state=state)
    assert state.read_text("latin-1") == text


async def test_each_line_of_the_state_is_json(tmp_path: Path) -> None:
    """So that other programs can follow it while it grows."""
    state = tmp_path / "state.jsonl"
    await scan(of_files(recorded("normal")), data_converter, state=state)
    (line,) = state.read_text().splitlines()
    assert json.loads(line)["result"]["state"] == "same"
