"""Asks Temporal for recorded runs, and tells what it answers: what is wrong with one run costs that one, and what is
wrong with the server is one line."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import HistoryUnreadable, InvalidRequest, NoSuchHistory

__all__ = ["fetched", "listed", "newest_run_id", "run_ids"]

_AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)


async def fetched(client: Client, workflow_id: str, run_id: str | None) -> WorkflowHistory:
    """The run's history, of the newest one without ``run_id``.

    Raises NoSuchHistory where the server has none, HistoryUnreadable where it has it and does not give it, and
    ``ConnectionError`` where it answers no more, or has no such namespace.
    """
    which = f"run {run_id} of {workflow_id}" if run_id else workflow_id
    try:
        return await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
    except RPCError as error:
        _raise_of_server(client, error)
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise NoSuchHistory(
                f"workflow: Temporal has no {which} (any more), and it is not archived. Closed runs are kept as long "
                "as records.retention.archive says; give an exported one with --file.",
                field="workflow",
            ) from None
        raise HistoryUnreadable(
            f"workflow: Temporal does not give the history of {which} ({_words(error)}). Look at the server's log, or "
            "give an exported one with --file.",
            field="workflow",
        ) from None


async def listed(client: Client, query: str) -> AsyncIterator[WorkflowExecution]:
    """The runs of a search-attribute query, newest first. Raises InvalidRequest where the server refuses the query, and
    ``ConnectionError`` where it cannot list any, answers no more, or has no such namespace."""
    try:
        async for found in client.list_workflows(query):
            yield found
    except RPCError as error:
        _raise_of_server(client, error)
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise ConnectionError(
                f"temporal.address: the server at {_address(client)} cannot list runs ({_words(error)}). Try again, or "
                "look at its visibility store."
            ) from error
        raise InvalidRequest(
            f"query: the server refuses it: {_said(error)}. See docs/operations.md for examples.", field="query"
        ) from None


async def run_ids(client: Client, workflow_id: str) -> tuple[list[str], list[NoSuchHistory]]:
    """Of all its runs that the server lists, and why there may be more."""
    quoted, found = workflow_id.replace("'", "''"), list[str]()
    try:
        async for each in client.list_workflows(f"WorkflowId = '{quoted}'"):
            found.append(each.run_id)
    except RPCError as error:  # it costs the reopened and reset runs, not the newest chain
        return found, [
            NoSuchHistory(
                f"{workflow_id}: Temporal cannot list its runs ({_words(error)}): those that were reopened or set back "
                "may be missing. Try again, or look at the server's visibility store.",
                field="workflow",
            )
        ]
    return found, []


async def newest_run_id(client: Client, workflow_id: str) -> str | None:
    """Of the run that the server has as the newest, from its own state: the list follows a moment later. ``None`` where
    it does not tell. Raises ``ConnectionError`` where it answers no more."""
    try:
        return (await client.get_workflow_handle(workflow_id).describe()).run_id
    except RPCError as error:
        _raise_of_server(client, error)
        return None


def _raise_of_server(client: Client, error: RPCError) -> None:
    """Raises ``ConnectionError`` for what no other run would get another answer to."""
    if error.status in _AWAY:
        raise ConnectionError(
            f"temporal.address: the Temporal server at {_address(client)} answers no more ({_words(error)}). Try again "
            "when it does."
        ) from error
    if any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details):
        raise ConnectionError(
            f"temporal.namespace: the server at {_address(client)} has no {client.namespace}. Name the one that the "
            "site's conversations are in."
        ) from error


def _address(client: Client) -> str:
    return client.service_client.config.target_host


def _said(error: RPCError) -> str:
    return " ".join(error.message.split()).rstrip(".")


def _words(error: RPCError) -> str:
    name, said = error.status.name, _said(error)
    return f"{name}: {said}" if said else name
