"""Reads raw payloads inside the workflow, so that a foreign client's nonsense fails that call alone."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from dialogue.faults import InvalidRequest, ParleyFault

__all__ = ["NOTHING", "application_error", "parse"]

NOTHING = RawValue(Payload())
"""The default of an argument that may be left out. (Only a plain ``RawValue`` is handed over undecoded.)"""

Parsed = TypeVar("Parsed", bound=BaseModel)


def application_error(fault: ParleyFault) -> ApplicationError:
    """The fault as Temporal carries it: its type, and never retried, because a workflow raised it."""
    return ApplicationError(fault.message, type=fault.type, non_retryable=True)


def parse(raw: RawValue, kind: type[Parsed]) -> Parsed:
    """``raw`` as ``kind``. Raises an ApplicationError of type ``invalid-request`` that names each bad field."""
    try:
        if raw is NOTHING:
            return kind()
        return kind.model_validate(workflow.payload_converter().from_payload(raw.payload, object))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or kind.__name__}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise application_error(InvalidRequest(problems)) from None
    except Exception as error:
        message = f"{kind.__name__}: the payload is not readable JSON ({type(error).__name__})"
        raise application_error(InvalidRequest(message)) from None
