"""What Temporal answers where it does not give a history: of one run it costs that one, of all it is one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    WorkflowExecutionAsyncIterator,
    WorkflowHistoryEventAsyncIterator,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from cli.main import run
from cli.replay_fork import fork
from dialogue.faults import HistoryUnreadable, NoSuchHistory
from gateway.conversations import new_conversation_id
from records.archive import RunArchive
from replay.chain import Chain
from replay.fork import plan_fork
from replay.histories import live
from replay.scan import Found, scan
from replay.server import run_ids
from tests.replay.kept import kept_site
from tests.replay.test_live import Speaker
from tests.replay.test_live import speaker as speaker
from tests.replay.test_live_parts import archived
from tests.support.archive import archive as archive


class _Refusing(Interceptor):
    """Answers for the server: with ``status`` where ``refuses`` says so of a run id, which is None of the newest. Its
    list lacks the run ``unlisted``."""

    def __init__(self, refuses: Callable[[str | None], bool], status: RPCStatusCode, unlisted: str) -> None:
        self._refuses, self._status, self._unlisted = refuses, status, unlisted

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 (the SDK's name)
        refuses, status, unlisted = self._refuses, self._status, self._unlisted

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self,
                input: FetchWorkflowHistoryEventsInput,  # noqa: A002 (the SDK's name)
            ) -> WorkflowHistoryEventAsyncIterator:
                if refuses(input.run_id):
                    raise RPCError("Workflow execution history is corrupted.", status, b"")
                return super().fetch_workflow_history_events(input)

            def list_workflows(
                self,
                input: ListWorkflowsInput,  # noqa: A002 (the SDK's name)
            ) -> WorkflowExecutionAsyncIterator:
                query = f"{input.query} AND RunId != '{unlisted}'" if unlisted else input.query
                return super().list_workflows(replace(input, query=query))

        return Outbound(next)


def _refusing(
    client: Client,
    refuses: Callable[[str | None], bool],
    status: RPCStatusCode = RPCStatusCode.DATA_LOSS,
    *,
    unlisted: str = "",
) -> Client:
    return Client(**{**client.config(), "interceptors": [_Refusing(refuses, status, unlisted)]})


@pytest.fixture
async def three(speaker: Speaker) -> Chain:
    """Of three runs and more, all of which the server lists: its list follows a moment later."""
    name = new_conversation_id()
    await speaker.say(name, "How long?", "And in a shop?", "And for gifts?", start={"turns_per_run": 1})
    chain = await live(speaker.client, name)
    async with asyncio.timeout(30):
        while len((await run_ids(speaker.client, name))[0]) < len(chain.runs):  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.05)
    return chain


async def test_a_run_that_the_server_does_not_give_costs_no_other(speaker: Speaker, three: Chain) -> None:
    """The newest, also where the list has it not yet, or one between: it is named with the server's words, the others
    are shown, and a scan goes on."""
    ids = [each.run_id for each in three.runs]
    for gone, unlisted in ((ids[-1], ""), (ids[-1], ids[-1]), (ids[1], "")):
        client = _refusing(speaker.client, lambda asked, gone=gone: (asked or ids[-1]) == gone, unlisted=unlisted)
        found = await live(client, three.workflow_id)
        assert [each.run_id for each in found.runs] == [each for each in ids if each != gone]
        (problem,) = found.problems
        said = f"run {gone} of {three.workflow_id} (DATA_LOSS: Workflow execution history is corrupted)"
        assert said in problem.message
        scanned = [Found("", three.workflow_id, each) for each in ids]
        done = await scan(scanned, client.data_converter, client=client)
        assert [each.state for each in done.results] == ["unchecked" if each == gone else "same" for each in ids]


async def test_what_was_not_read_whole_is_not_forked(
    speaker: Speaker, three: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why is told and nothing is reset: the numbers of the turns that were not seen would be given again."""
    newest = three.runs[-1].run_id
    client = _refusing(speaker.client, lambda asked: asked in (None, newest))

    async def connected(*_: object, **__: object) -> Client:
        return client

    monkeypatch.setenv("PARLEY_CONFIG", str(await asyncio.to_thread(kept_site, tmp_path)))
    monkeypatch.setattr("records.connection.connect", connected)
    with pytest.raises(HistoryUnreadable, match=rf"does not give the history of run {newest} of .* is corrupted"):
        await fork(three.workflow_id, turn=2, by="ann", why="a wrong document", yes=True)
    assert (await speaker.client.get_workflow_handle(three.workflow_id).describe()).run_id == newest
    assert plan_fork(three, 2).total == 3
    unlisted = replace(three, unasked=(NoSuchHistory("Temporal cannot list its runs"),))
    with pytest.raises(NoSuchHistory, match="cannot list its runs"):
        plan_fork(unlisted, 2)


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
