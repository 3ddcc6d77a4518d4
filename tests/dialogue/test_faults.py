"""Every fault has a type of its own, a status, a retry decision, and a place in the tree that the page draws."""

from __future__ import annotations

import pytest

from dialogue import faults
from dialogue.faults import ParleyFault, all_faults, fault_named

OURS = [fault for fault in all_faults().values() if fault.__module__ == "dialogue.faults"]


@pytest.mark.parametrize("fault", OURS, ids=lambda fault: fault.type)
def test_a_fault_says_what_it_is(fault: type[ParleyFault]) -> None:
    """Its type is a slug, its status an HTTP error, and the module's drawing names it with that status."""
    assert fault.type.replace("-", "").isalpha()
    assert 400 <= fault.status <= 599
    drawn = next(line for line in (faults.__doc__ or "").splitlines() if fault.__name__ in line.split())
    assert fault is ParleyFault or str(fault.status) in drawn or fault.__subclasses__()


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
