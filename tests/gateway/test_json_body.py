"""A body is strict JSON within a bound: whatever else is sent is refused in words that say what to change."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.faults import InvalidRequest, MalformedBody, ParleyFault
from gateway.json_body import DEEPEST, DRAINED, MOST_FIELDS, MOST_INNER, parse_object

NESTED = b'{"messages":' * 5000
BAD: list[tuple[str, bytes, type[ParleyFault], str]] = [
    ("empty", b"", MalformedBody, "body: is empty"),
    ("blank", b" \n\t ", MalformedBody, "body: is empty"),
    ("cut off", b'{"messages": [', MalformedBody, "is not JSON: .* line 1, column 15"),
    ("single quotes", b"{'messages': []}", MalformedBody, "is not JSON"),
    ("trailing comma", b'{"a": 1,}', MalformedBody, "is not JSON"),
    ("two values", b"{} {}", MalformedBody, "is not JSON: Extra data"),
    ("a list", b"[]", MalformedBody, "must be a JSON object"),
    ("a string", b'"hello"', MalformedBody, "must be a JSON object"),
    ("null", b"null", MalformedBody, "must be a JSON object"),
    ("NaN", b'{"temperature": NaN}', MalformedBody, "NaN is no JSON number"),
    ("Infinity", b'{"temperature": Infinity}', MalformedBody, "Infinity is no JSON number"),
    ("minus Infinity", b'{"temperature": -Infinity}', MalformedBody, "-Infinity is no JSON number"),
    ("a number beyond floats", b'{"temperature": 1e999}', MalformedBody, "1e999 is no finite number"),
    ("a very long number", b'{"seed": ' + b"9" * 5000 + b"}", MalformedBody, "a number has 5000 digits"),
    ("a field twice", b'{"a": 1, "b": 2, "a": 3}', MalformedBody, "^a: is given twice"),
    ("a field twice inside", b'{"messages": [{"role": 1, "role": 2}]}', MalformedBody, "^role: is given twice"),
    ("many fields", json.dumps({f"f{n}": n for n in range(MOST_FIELDS + 1)}).encode(), MalformedBody, "has 101 fields"),
    ("many lists", b'{"a": [' + b"[],".join([b""] * MOST_INNER) + b"[]]}", MalformedBody, "more than 20000 objects"),
    ("not UTF-8", b'{"a": "\xff"}', MalformedBody, r"is not UTF-8 \(byte 7\)"),
    ("UTF-16", '{"a": 1}'.encode("utf-16"), MalformedBody, "is not UTF-8"),
    ("a byte order mark", b"\xef\xbb\xbf{}", MalformedBody, "is not JSON"),
    ("nested beyond recursion", NESTED, MalformedBody, "is nested deeper than 32"),
    ("nested beyond sense", b'{"a":' * 50 + b"1" + b"}" * 50, MalformedBody, "is nested deeper than 32"),
    ("a raw control character", b'{"a": "\x01"}', MalformedBody, "is not JSON: Invalid control character"),
    ("NUL", b'{"messages": [{"content": "a\\u0000b"}]}', InvalidRequest, r"^messages\.0\.content: .*U\+0000"),
    ("NUL in a key", b'{"a\\u0000": 1}', InvalidRequest, r"U\+0000"),
    ("half a pair", b'{"messages": [{"content": "\\ud83d"}]}', InvalidRequest, r"^messages\.0\.content: .*surrogate"),
    ("half a pair in a key", b'{"\\udc00": 1}', InvalidRequest, "surrogate"),
]


@pytest.mark.parametrize(("body", "fault", "told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_bodies(body: bytes, fault: type[ParleyFault], told: str) -> None:
    """Each is refused by one line that names the place; none gets further."""
    with pytest.raises(fault, match=told) as refused:
        parse_object(body)
    assert "\n" not in refused.value.message
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(("body", "_fault", "_told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_bodies_over_http(alone: httpx.AsyncClient, body: bytes, _fault: Any, _told: str) -> None:
    """Each is a 4xx problem."""
    response = await alone.post("/v1/chat", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] in ("/docs#malformed-body", "/docs#invalid-request")


def test_fields_up_to_the_bound_are_taken() -> None:
    body = {f"f{n}": n for n in range(MOST_FIELDS)}
    assert parse_object(json.dumps(body).encode()) == body


def test_whole_characters_are_kept() -> None:
    """A pair of surrogate escapes is one character; Chinese and control escapes stay as they are."""
    assert parse_object(b'{"a": "\\ud83d\\ude00 \xe4\xbd\xa0\xe5\xa5\xbd \\n"}') == {"a": "😀 你好 \n"}


def test_nesting_up_to_the_bound_is_taken() -> None:
    """The bound is where it says it is."""
    body = b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST
    assert "a" in parse_object(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_fault(body: bytes) -> None:
    """Nothing else ever comes out."""
    try:
        found: object = parse_object(body)
    except (MalformedBody, InvalidRequest):
        found = {}
    assert isinstance(found, dict)


_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
_LEAVES = st.none() | st.booleans() | st.integers() | _TEXTS
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50)
@given(st.dictionaries(_TEXTS, _VALUES, max_size=3))
def test_plain_json_comes_out_as_it_went_in(value: dict[str, Any]) -> None:
    """What a JSON library writes is read back the same, ASCII-escaped or not."""
    assert parse_object(json.dumps(value).encode()) == value
    assert parse_object(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        ("text/plain", "'text/plain'"),
        ("application/x-www-form-urlencoded", "must be application/json"),
        ("", "there is none"),
        ("application/json; charset=utf-16", "UTF-8"),
    ],
)
async def test_another_content_type_is_415(alone: httpx.AsyncClient, content_type: str, told: str) -> None:
    """The answer says which type is taken."""
    response = await alone.post("/v1/chat", content=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert told in response.json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_however_it_is_written(alone: httpx.AsyncClient, content_type: str) -> None:
    """Case and the one possible charset do not matter: the body is looked at."""
    response = await alone.post("/v1/chat", content=b"{}", headers={"Content-Type": content_type})
    assert response.json()["detail"] == "messages: is missing. Give it a value."


async def test_a_long_body_is_413(alone: httpx.AsyncClient) -> None:
    """One byte beyond gateway.max_body; the answer names the setting."""
    response = await alone.post("/v1/chat", content=b"x" * 1_000_001, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["detail"] == "body: has more than 1000000 bytes. Send less, or set gateway.max_body."
    response = await alone.post("/v1/chat", content=b"x" * 1_000_000, headers={"Content-Type": "application/json"})
    assert response.status_code == 400  # it was read, and is no JSON


async def test_a_chunked_body_is_cut_off(alone: httpx.AsyncClient) -> None:
    """Without a declared length the reading stops when the client does not, and little is kept of it."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100_000_000:
            sent += 100_000
            yield b" " * 100_000

    response = await alone.post("/v1/chat", content=endless(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert sent <= 1_000_000 + DRAINED + 200_000


async def test_a_huge_declared_body_is_not_read_at_all(alone: httpx.AsyncClient) -> None:
    """Its length is known to be beyond all bounds."""
    headers = {"Content-Type": "application/json", "Content-Length": "9" * 12}
    response = await alone.post("/v1/chat", content=b"{}", headers=headers)
    assert response.status_code == 413
