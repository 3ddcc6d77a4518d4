"""What Temporal answers where it does not give a history: of one run it costs that one, of all it is one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from cli.main import run
from dialogue.faults import HistoryUnreadable
from gateway.conversations import new_conversation_id
from records.archive import RunArchive
from replay.chain import Chain
from replay.histories import live
from replay.scan import Found, scan
from tests.replay.kept import kept_site
from tests.replay.test_live import Speaker
from tests.replay.test_live import speaker as speaker
from tests.replay.test_live_parts import archived
from tests.support.archive import archive as archive


class _Refusing(Interceptor):
    """Answers for the server: with ``status`` where ``refuses`` says so of a run id, which is None of the newest."""

    def __init__(self, refuses: Callable[[str | None], bool], status: RPCStatusCode) -> None:
        self._refuses, self._status = refuses, status

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 (the SDK's name)
        refuses, status = self._refuses, self._status

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self,
                input: FetchWorkflowHistoryEventsInput,  # noqa: A002 (the SDK's name)
            ) -> WorkflowHistoryEventAsyncIterator:
                if refuses(input.run_id):
                    raise RPCError("Workflow execution history is corrupted.", status, b"")
                return super().fetch_workflow_history_events(input)

        return Outbound(next)


def _refusing(
    client: Client, refuses: Callable[[str | None], bool], status: RPCStatusCode = RPCStatusCode.DATA_LOSS
) -> Client:
    return Client(**{**client.config(), "interceptors": [_Refusing(refuses, status)]})


@pytest.fixture
async def three(speaker: Speaker) -> Chain:
    """Of three runs and more."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", "And for gifts?", start={"turns_per_run": 1})
    return await live(speaker.client, name)


async def test_a_run_that_the_server_does_not_give_costs_no_other(speaker: Speaker, three: Chain) -> None:
    """The newest, or one between: it is named with the server's words, the others are shown, and a scan goes on."""
    ids = [each.run_id for each in three.runs]
    for gone in (ids[-1], ids[1]):
        client = _refusing(speaker.client, lambda asked, gone=gone: (asked or ids[-1]) == gone)
        found = await live(client, three.workflow_id)
        assert [each.run_id for each in found.runs] == [each for each in ids if each != gone]
        (problem,) = found.problems
        said = f"run {gone} of {three.workflow_id} (DATA_LOSS: Workflow execution history is corrupted)"
        assert said in problem.message
        scanned = [Found("", three.workflow_id, each) for each in ids]
        done = await scan(scanned, client.data_converter, client=client)
        assert [each.state for each in done.results] == ["unchecked" if each == gone else "same" for each in ids]


async def test_what_the_server_gives_none_of_is_one_line(speaker: Speaker, three: Chain, archive: RunArchive) -> None:
    """And a server that is gone another one, which ends a scan; what the archive has is shown all the same."""
    refused = _refusing(speaker.client, lambda _: True)
    with pytest.raises(HistoryUnreadable, match=r"does not give the history of .* is corrupted"):
        await live(refused, three.workflow_id)
    away = _refusing(speaker.client, lambda _: True, RPCStatusCode.UNAVAILABLE)
    with pytest.raises(ConnectionError, match=r"temporal\.address: the Temporal server at .* answers no more"):
        await scan([Found("", three.workflow_id, three.runs[0].run_id)], away.data_converter, client=away)
    kept = await archived(archive, three.runs[0])
    for client, said in ((refused, "is corrupted"), (away, "answers no more")):
        found = await live(client, three.workflow_id, archive=archive)
        assert [each.run_id for each in found.runs] == [kept.run_id]
        assert any(said in each.message and "Shown is what the archive has" in each.message for each in found.problems)


@pytest.mark.parametrize(
    "command", [["show", "conv-1"], ["scan", "--since", "2026-01-01", "--query", "Verdict='pass'"]]
)
async def test_a_namespace_that_is_not_there_is_named(
    command: list[str],
    temporal: WorkflowEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And no conversation said to be missing from it."""
    monkeypatch.setenv("PARLEY_CONFIG", str(await asyncio.to_thread(kept_site, tmp_path)))
    monkeypatch.setenv("PARLEY_TEMPORAL__ADDRESS", temporal.client.service_client.config.target_host)
    monkeypatch.setenv("PARLEY_TEMPORAL__NAMESPACE", "none")
    assert await asyncio.to_thread(run, ["replay", *command]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("temporal.namespace: the server at ")
    assert "has no none. Name the one" in line
