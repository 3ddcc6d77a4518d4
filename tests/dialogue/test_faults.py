"""Every fault has a type of its own, a status, a retry decision, and a place in the tree that the page draws."""

from __future__ import annotations

import pytest

from dialogue import faults
from dialogue.faults import ParleyFault, all_faults, fault_named

DECISIONS = {
    # type: HTTP status, whether Temporal attempts it again
    "fault": (500, False),
    "bad-input": (400, False),
    "invalid-request": (422, False),
    "malformed-body": (400, False),
    "message-too-long": (413, False),
    "unknown-tenant": (404, False),
    "unknown-conversation": (404, False),
    "unknown-model": (404, False),
    "message-id-reused": (409, False),
    "conversation-closed": (409, False),
    "conversation-busy": (429, False),
    "limit-reached": (429, False),
    "body-too-slow": (408, False),
    "too-many-turns": (429, False),
    "no-such-review": (404, False),
    "no-such-turn": (404, False),
    "nothing-to-cancel": (409, False),
    "webhook-refused": (422, False),
    "webhook-failed": (502, True),
    "access": (403, False),
    "unauthenticated": (401, False),
    "forbidden": (403, False),
    "caller-refused": (403, False),  # the same token would be refused again
    "issuer-unavailable": (503, True),
    "settings": (500, False),
    "model": (500, False),
    "model-corrupt": (500, False),  # the same file would be read again
    "model-missing": (500, False),
    "prompt-too-long": (413, False),
    "out-of-memory": (503, False),  # the ladder's
    "engine-lost": (503, True),
    "engine-hung": (503, True),
    "engine-busy": (503, True),  # the same request, a moment later
    "generation-timed-out": (504, False),  # the ladder's
    "unsafe-model": (422, False),
    "download-failed": (503, True),
    "download-refused": (502, False),
    "registry": (500, False),
    "registry-unavailable": (503, True),
    "registry-conflict": (409, False),
    "no-such-version": (404, False),
    "promotion-refused": (409, False),
    "knowledge": (500, False),
    "knowledge-missing": (503, True),  # put back in a moment, perhaps
    "knowledge-corrupt": (500, False),
    "document-unreadable": (422, False),
    "records": (500, False),
    "records-unavailable": (503, True),
    "records-conflict": (409, False),
    "content-missing": (404, False),
    "token-log-fenced": (409, False),
    "token-log-unavailable": (503, True),
    "history": (422, False),
    "history-unreadable": (422, False),
    "history-broken": (422, False),
    "history-foreign": (422, False),
    "history-locked": (403, False),
    "bundle-broken": (422, False),  # the same file would be read again
    "no-such-history": (404, False),
    "protection": (500, False),
    "key-missing": (410, False),
    "key-destroyed": (410, False),
    "keys-unavailable": (503, True),
    "seal-broken": (500, False),
    "plain-refused": (422, False),
    "receipt-invalid": (422, False),
    "attestation-refused": (403, False),  # the same enclave would send the same measurements
    "key-service-untrusted": (502, True),  # nothing is given away by asking again, and an audit row waits for it
    "policy": (500, False),
    "intents": (500, False),
}

OURS = [fault for fault in all_faults().values() if fault.__module__ == "dialogue.faults"]


@pytest.mark.parametrize("fault", OURS, ids=lambda fault: fault.type)
def test_a_fault_says_what_it_is(fault: type[ParleyFault]) -> None:
    """Its type is a slug, its status an HTTP error, and the module's drawing names it with that status."""
    assert fault.type.replace("-", "").isalpha()
    assert 400 <= fault.status <= 599
    drawn = next(line for line in (faults.__doc__ or "").splitlines() if fault.__name__ in line.split())
    assert fault is ParleyFault or str(fault.status) in drawn or fault.__subclasses__()


def test_each_fault_has_its_status_and_its_retry_decision() -> None:
    """A change of either is seen by callers and by whoever waits: it is made here too. How they reach HTTP and Temporal
    is in tests/gateway/test_problems.py and tests/activities/test_step_interceptor.py."""
    assert {fault.type: (fault.status, fault.retryable) for fault in OURS} == DECISIONS


def test_types_are_unique() -> None:
    """A type that crosses a process border names one class."""
    assert len({fault.type for fault in OURS}) == len(OURS)


def test_what_the_caller_did_wrong_is_never_attempted_again() -> None:
    """No 4xx is retried by Temporal: the same input would fail again."""
    assert not [fault.type for fault in OURS if fault.retryable and fault.status < 500]


@pytest.mark.parametrize("fault", OURS, ids=lambda fault: fault.type)
def test_a_fault_comes_back_by_its_name(fault: type[ParleyFault]) -> None:
    """What travelled as a type and a message is the same fault again; an unknown type is the root."""
    again = fault_named(fault.type, "why")
    assert type(again) is fault
    assert again.message == str(again) == "why"
    assert type(fault_named("of another world", "why")) is ParleyFault
