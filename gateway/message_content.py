"""What a message says, as it comes over the wire: a text, or OpenAI's parts of texts and files."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import GetJsonSchemaHandler, GetPydanticSchema, ValidationError, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from dialogue.messages import MAX_MESSAGE_CHARACTERS, Text, TextFile

__all__ = ["Content", "MessageContent"]

_HEAD = "data:text/(plain|markdown)(;charset=(utf-8|UTF-8))?;base64"
_BODY = "[A-Za-z0-9+/]+={0,2}"
_SHOWN = 60
_NO_UPLOADS = "files are sent with their message and not uploaded before. Send file_data and filename"


@dataclass(frozen=True, slots=True)
class Content:
    """Text parts are one text, a line each. ``files`` are those of the parts of the type ``file``."""

    text: str
    files: tuple[TextFile, ...] = ()


def _read(value: Any, text: ValidatorFunctionWrapHandler) -> Content:
    if isinstance(value, Content):
        return value
    if not isinstance(value, list):
        return Content(text(value))
    parts = [_part(number, part) for number, part in enumerate(cast("list[Any]", value))]
    files = tuple(part for part in parts if isinstance(part, TextFile))
    said = [part for part in parts if isinstance(part, str)]
    if files and not any(said):
        raise ValueError("brings a file and asks nothing. Send a part of the type text beside it")
    return Content(text("\n".join(said)), files)


def _part(number: int, part: Any) -> str | TextFile:
    fields = cast("Mapping[str, Any]", part) if isinstance(part, Mapping) else {}
    kind = fields.get("type")
    if kind == "text":
        if not isinstance(fields.get("text"), str) or fields.keys() - {"type", "text"}:
            raise ValueError(f"part {number} must be an object of type and text, and text a text")
        return fields["text"]
    if kind == "file":
        return _file(number, fields)
    shown = f"has the type {str(kind)[:_SHOWN]}" if kind is not None else "has no type"
    raise ValueError(f"part {number} {shown}. Send text, or parts of the types text and file alone")


def _file(number: int, part: Mapping[str, Any]) -> TextFile:
    """Raises ValueError for what is no text with a name."""
    given = part.get("file")
    file = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
    if "file_id" in file:
        raise ValueError(f"part {number} has a file_id: {_NO_UPLOADS}")
    name, data = file.get("filename"), file.get("file_data")
    whole = file.keys() == {"filename", "file_data"} and part.keys() == {"type", "file"}
    if not whole or not isinstance(name, str) or not isinstance(data, str):
        raise ValueError(f"part {number} must be an object of type and file, and file one of filename and file_data")
    try:
        return TextFile(name=name, text=_text_of(data))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = "filename" if problem["loc"] == ("name",) else "file_data"
        raise ValueError(f"part {number}: {place}: {problem['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise ValueError(f"part {number}: file_data {error}") from None


def _text_of(data: str) -> str:
    head, _, body = data.partition(",")
    if not re.fullmatch(_HEAD, head):
        raise ValueError(
            f"begins with {head[:_SHOWN]!r}. Send text: data:text/plain;base64, or data:text/markdown;base64, and then "
            "the file's UTF-8 in base64"
        )
    try:
        if not re.fullmatch(_BODY, body):
            raise binascii.Error
        text = base64.b64decode(body).decode("utf-8-sig")
    except binascii.Error:
        raise ValueError("is empty or no base64 behind its comma. Encode the file again") from None
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8. Save the file in UTF-8 and send it again") from None
    if "\0" in text:
        raise ValueError("holds U+0000, which no text does. Send the text of the file")
    return text


class _Parts:
    """As OpenAPI describes it."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        said = {"type": "string", "minLength": 1, "maxLength": MAX_MESSAGE_CHARACTERS}
        parts = {"anyOf": [_object("text", text={"type": "string"}), _object("file", file=_FILE)]}
        return {"anyOf": [said, {"type": "array", "minItems": 1, "items": parts}]}


def _object(kind: str, **fields: Any) -> dict[str, Any]:
    return _closed({"type": {"const": kind}, **fields})


def _closed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


_FILE = _closed(
    {
        "filename": {"type": "string", "minLength": 1, "maxLength": 128, "description": "one line"},
        "file_data": {"type": "string", "pattern": f"^{_HEAD},{_BODY}$", "description": "a text in UTF-8"},
    }
)

MessageContent = Annotated[
    Content,
    GetPydanticSchema(lambda _, handler: core_schema.no_info_wrap_validator_function(_read, handler(Text))),
    _Parts(),
]
