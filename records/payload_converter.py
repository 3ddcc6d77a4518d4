"""The payload converter: pydantic's JSON, with what it has learned of our types kept for the next time."""

from __future__ import annotations

from typing import Final

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

__all__ = ["data_converter"]

_LEARNED: Final = tuple(PydanticPayloadConverter().converters.values())


class _SharedPydanticConverter(PydanticPayloadConverter):
    """The SDK makes a converter for each activation; a new one of pydantic's builds every type's adapter again."""

    def __init__(self) -> None:
        CompositePayloadConverter.__init__(self, *_LEARNED)


data_converter = DataConverter(payload_converter_class=_SharedPydanticConverter)
"""What the plugin gives to client, workers and replayer."""
