"""The OpenAPI 3.1 document in the words of 3.0, for generators that know no other."""

from __future__ import annotations

from typing import Any

__all__ = ["as_openapi_30"]

_NOT_IN_30 = ("contentMediaType", "contentSchema", "examples", "const", "prefixItems")


def as_openapi_30(document: dict[str, Any]) -> dict[str, Any]:
    """``document``, which stays as it is, with what 3.0 has no word for said in its own or left out."""
    told = _converted(document)
    told["openapi"] = "3.0.3"
    told["info"].pop("summary", None)
    told["info"]["license"].pop("identifier", None)
    told.pop("webhooks", None)
    return told


def _converted(value: Any) -> Any:
    if isinstance(value, list):
        return [_converted(one) for one in value]
    if not isinstance(value, dict):
        return value
    # the keys of these are names and no words of the schema
    below = {
        name: {key: _converted(one) for key, one in inner.items()}
        if name in ("properties", "schemas", "paths") and isinstance(inner, dict)
        else _converted(inner)
        for name, inner in value.items()
    }
    return _nullable(_renamed(below))


def _renamed(schema: dict[str, Any]) -> dict[str, Any]:
    """Constants, examples, open bounds and tuples."""
    told = {name: value for name, value in schema.items() if name not in _NOT_IN_30}
    if "const" in schema:
        told["enum"] = [schema["const"]]
    if isinstance(schema.get("examples"), list) and schema["examples"]:
        told["example"] = schema["examples"][0]
    if isinstance(schema.get("prefixItems"), list):
        told["items"] = {"anyOf": schema["prefixItems"]}
    for bound, word in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(bound), int | float) and not isinstance(schema[bound], bool):
            told |= {word: schema[bound], bound: True}
    return told


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the type null."""
    if schema.get("type") == "null":
        return {**{name: value for name, value in schema.items() if name != "type"}, "nullable": True, "enum": [None]}
    for word in ("anyOf", "oneOf"):
        kinds = schema.get(word)
        if not isinstance(kinds, list):
            continue
        real = [kind for kind in kinds if kind.get("enum") != [None]]
        if len(real) < len(kinds):
            rest = {name: value for name, value in schema.items() if name != word}
            one = {"allOf": real} if len(real) == 1 else {word: real}
            return {**rest, **one, "nullable": True}
    return schema
