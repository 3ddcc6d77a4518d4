"""How values become payloads and back: pydantic's JSON, and several arguments at once never undecodable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    EncodingPayloadConverter,
    PayloadConverter,
    SerializationContext,
)

from dialogue.faults import KeyDestroyed, ParleyFault, PlainRefused
from records.short_memory import ShortMemory

__all__ = [
    "FORGOTTEN",
    "REFUSED",
    "SEALED_FAILURE",
    "SealedFailureConverter",
    "data_converter",
    "forgotten",
    "plain_refused",
]

REFUSED: Final = b"plain-refused/encryption.accept_plain"
"""The encoding that stands for a payload in clear where the site reads none. The codec leaves it in the payload's
place: an exception of its own would fail the workflow task again and again, for whatever a stranger sent."""


FORGOTTEN: Final = b"key-destroyed/on-its-way"
"""The same for what a remote codec sealed for a user who was forgotten before it arrived, in a workflow of others."""


def plain_refused() -> PlainRefused:
    return PlainRefused(
        "encryption.accept_plain: a payload came in clear, and this site reads none. Send it through the codec server."
    )


def forgotten() -> KeyDestroyed:
    return KeyDestroyed(
        "payload: its key was destroyed when its user was forgotten, whose this workflow is not. Seal anew what they "
        "still have to say."
    )


class _Unread(EncodingPayloadConverter):
    """Says why to whoever asks for the value: inside the workflow, where it fails that call alone."""

    def __init__(self, encoding: bytes, fault: Callable[[], ParleyFault]) -> None:
        self._encoding, self._fault = encoding.decode(), fault

    @property
    def encoding(self) -> str:
        return self._encoding

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise self._fault()


_REMEMBER_SECONDS: Final = 60
_MOST_REMEMBERED: Final = 1000
_LEARNED: Final = tuple(PydanticPayloadConverter().converters.values())
"""The SDK makes a converter for each activation; a new one of pydantic's builds every type's adapter again."""


class _PayloadConverter(PydanticPayloadConverter):
    """The SDK decodes arguments without their types where their number is not the handler's. What cannot be decoded
    then stays raw: an exception here, in the arguments of a start, would fail the workflow task again and again.
    """

    def __init__(self) -> None:
        unread = (_Unread(REFUSED, plain_refused), _Unread(FORGOTTEN, forgotten))
        CompositePayloadConverter.__init__(self, *_LEARNED, *unread)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        if type_hints or len(payloads) < 2:
            return super().from_payloads(payloads, type_hints)
        return [self._value(payload) for payload in payloads]

    def _value(self, payload: Payload) -> Any:
        try:
            return super().from_payloads([payload])[0]
        except Exception:
            return RawValue(payload)


SEALED_FAILURE: Final = "Encoded failure"
"""What stands in clear of a failure whose message and stack trace are sealed; the type of ours behind a colon."""


class SealedFailureConverter(DefaultFailureConverter):
    """Message and stack trace go where the codec seals them. The type stays: a failed query comes back without its
    details, and an operator sees what kind of fault it was."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        if type_ := failure.application_failure_info.type:
            failure.message = f"{SEALED_FAILURE}: {type_}"


class _DataConverter(DataConverter):
    """Remembers its copy for a workflow: the SDK asks for one some 65 times in a turn, and copying took as long as the
    encryption itself. Of its parts the codec alone heeds the context, and of that the workflow alone."""

    _of_workflow: ShortMemory[str, Self]

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = ShortMemory[str, Self](_REMEMBER_SECONDS, most=_MOST_REMEMBERED)
        object.__setattr__(self, "_of_workflow", kept)  # it is frozen

    def with_context(self, context: SerializationContext) -> Self:
        if self.payload_codec is None:
            return self
        workflow_id: str | None = getattr(context, "workflow_id", None)
        if workflow_id is None:
            return super().with_context(context)
        found = self._of_workflow.get(workflow_id)
        if found is None:
            found = super().with_context(context)
            self._of_workflow.put(workflow_id, found)
        return found


data_converter: DataConverter = _DataConverter(payload_converter_class=_PayloadConverter)
"""What the plugin gives to client, workers and replayer."""
