"""Reads a request's body as strict JSON (RFC 8259), within a bound."""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dialogue.faults import BodyTooSlow, InvalidRequest, MalformedBody

__all__ = ["DEEPEST", "MOST_FIELDS", "MOST_INNER", "parse_object", "read_body", "read_object", "refuse_unkeepable"]

DEEPEST = 32
"""Levels of nesting. What we take has four."""
DRAINED = 16 * 2**20
"""Bytes beyond the bound that are still read, and dropped."""
MOST_FIELDS = 100
"""Of one object: several times what any of ours has. What has more is not looked through field by field."""
MOST_INNER = 20_000
"""Objects and lists of one body. A megabyte may hold 300,000, which take seconds to be looked through."""
_LONGEST_NUMBER = 400
_UNKEEPABLE = re.compile(r"[\x00\ud800-\udfff]")
_Place: TypeAlias = "tuple[_Place | None, str | int]"
"""Of a value: that of the object or list around it, and its name there. Told only where something is wrong."""


async def read_object(
    request: Request, limit: int, seconds: float | None = None, *, setting: str = "gateway.max_body"
) -> dict[str, Any]:
    """The JSON object in the body of ``request``, which may have ``limit`` bytes and take ``seconds`` to arrive;
    ``setting`` is the name of that limit.

    Raises HTTPException 415 and 413, BodyTooSlow, MalformedBody for what is no JSON object, InvalidRequest for text
    that cannot be kept (NUL, half a surrogate pair).
    """
    _refuse_foreign_type(request.headers.get("content-type", ""))
    return parse_object(await read_body(request, limit, seconds, setting=setting))


def _refuse_foreign_type(content_type: str) -> None:
    kind, _, parameters = (part.strip().lower() for part in content_type.partition(";"))
    if kind != "application/json":
        found = f"it is {kind[:60]!r}" if kind else "there is none"
        raise HTTPException(415, f"Content-Type: must be application/json, but {found}.")
    name, _, charset = parameters.partition("=")
    if name.strip() == "charset" and charset.strip(' "') not in ("utf-8", "utf8"):
        raise HTTPException(415, f"Content-Type: JSON is sent as UTF-8, but the charset is {charset[:60]}.")


async def read_body(
    request: Request, limit: int, seconds: float | None = None, *, setting: str = "gateway.max_body"
) -> bytes:
    """The body, of ``limit`` bytes and within ``seconds``. Raises HTTPException 413, which names the ``setting`` of the
    limit, and BodyTooSlow."""
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit, setting)
    except TimeoutError:
        raise BodyTooSlow(
            f"body: was not there after {seconds:g} s. Send it whole, or set gateway.body_seconds.", field="body"
        ) from None


async def _read(request: Request, limit: int, setting: str) -> bytes:
    """Counts while reading: a chunked body does not say beforehand how long it is. Never holds more than ``limit``.

    What goes over is read a while longer and dropped: a client that is still sending would lose the answer else.
    """
    declared = request.headers.get("content-length", "")
    seen = int(declared) if declared.isdecimal() else 0
    body = bytearray()
    if seen <= limit + DRAINED:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen <= limit:
                body += chunk
            elif seen > limit + DRAINED:
                break
    if seen > limit:
        told = f"body: has more than {limit} bytes. Send less, or set {setting}."
        raise HTTPException(413, told, {"Connection": "close"})
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """``body`` as a JSON object. Raises as :func:`read_object` does."""
    if not body.strip():
        raise MalformedBody("body: is empty. Send a JSON object.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedBody(f"body: is not UTF-8 (byte {error.start}). Encode it as UTF-8.") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except json.JSONDecodeError as error:
        raise MalformedBody(f"body: is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise MalformedBody("body: must be a JSON object, {…}, at the top.")
    refuse_unkeepable(value)
    return value


def refuse_unkeepable(value: dict[str, Any]) -> None:
    """Raises InvalidRequest where a text in ``value`` holds what cannot be kept, MalformedBody where it is too deep or
    holds too many objects and lists."""
    waiting: list[tuple[_Place | None, int, Any]] = [(None, 0, value)]
    seen = 1
    while waiting:  # a loop, because a recursion's depth would be the caller's to choose
        place, depth, inner = waiting.pop()
        if inner and depth >= DEEPEST:
            raise _too_deep()
        for key, below in inner.items() if isinstance(inner, dict) else enumerate(inner):
            if isinstance(key, str):
                _refuse_unkeepable(place, key)
            if isinstance(below, str):
                _refuse_unkeepable((place, key), below)
            elif isinstance(below, dict | list):
                if (seen := seen + 1) > MOST_INNER:
                    raise MalformedBody(f"body: holds more than {MOST_INNER} objects and lists. Send fewer.")
                waiting.append(((place, key), depth + 1, below))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise MalformedBody(f"body: an object has {len(pairs)} fields. Send at most {MOST_FIELDS}.")
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedBody(f"{_name(name)}: is given twice. Give each field once.", field=_name(name))
        found[name] = value
    return found


def _no_constant(word: str) -> float:
    raise MalformedBody(f"body: {word} is no JSON number. Send a finite number, or leave the field out.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedBody(f"body: {digits[:40]} is no finite number. Send one below 1e308.")
    return number


def _bounded(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise MalformedBody(f"body: a number has {len(digits)} digits. Send at most {_LONGEST_NUMBER}.")
    return int(digits)


def _name(key: str) -> str:
    """A foreign key as it may be repeated in a message."""
    shown = key.encode("ascii", "backslashreplace").decode() if not key.isprintable() else key
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _refuse_unkeepable(place: _Place | None, text: str) -> None:
    found = _UNKEEPABLE.search(text)
    if found is None:
        return
    told = _told(place)
    if found[0] == "\0":
        raise InvalidRequest(f"{told}: holds the character U+0000. Leave it out.", field=told)
    raise InvalidRequest(
        f"{told}: holds half of a surrogate pair, which is no character. Send whole characters.", field=told
    )


def _told(place: _Place | None) -> str:
    names: list[str] = []
    while place is not None:
        place, key = place
        names.append(_name(str(key)))
    return ".".join(reversed(names)) or "body"


def _too_deep() -> MalformedBody:
    return MalformedBody(f"body: is nested deeper than {DEEPEST} levels. Send the fields flat.")
