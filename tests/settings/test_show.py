"""The effective settings as text, and the schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.rules import PolicyRules
from settings.json_schema import json_schema
from settings.load import load
from settings.show import as_json, as_yaml
from tests.settings.conftest import Load

TEXT = """\
gateway:
  port: 1
tenants:
  default:
    template: {en: "{answer}\\n\\nBye", zh: 再见}
policies:
  default: {words: [a.txt, b.txt]}
"""


def test_what_is_shown_loads_to_the_same(load_text: Load, repository: Path, tmp_path: Path) -> None:
    """It is a file of its own, comments apart."""
    for settings in (load_text(TEXT), load(repository / "temporal.yaml", {})):
        again = tmp_path / "again.yaml"
        again.write_text(as_yaml(settings), encoding="utf-8")
        assert load(again, {}).model_dump() == settings.model_dump()


def test_each_line_says_where_its_value_was_given(load_text: Load) -> None:
    """A line of the file, a variable or a default."""
    lines = as_yaml(load_text(TEXT, {"PARLEY_LOG__LEVEL": "debug"})).splitlines()
    ends = {line.split("#")[0].strip(): line.split("# ")[1] for line in lines if "# " in line}
    assert ends["port: 1"] == "temporal.yaml:2"
    assert ends["level: debug"] == "PARLEY_LOG__LEVEL"
    assert ends["rows: 8"] == "default"
    assert ends["words: [a.txt, b.txt]"] == "temporal.yaml:7"


def test_a_password_is_masked(load_text: Load) -> None:
    """In YAML and in JSON, wherever an address holds one."""
    environ = {"PARLEY_RECORDS__DATABASE": "postgresql+asyncpg://parley:s3:pa55@db/parley"}
    settings = load_text(TEXT, environ)
    assert settings.records.database == environ["PARLEY_RECORDS__DATABASE"]
    assert "postgresql+asyncpg://parley:***@db/parley" in as_yaml(settings)
    assert "pa55" not in as_yaml(settings)
    assert "pa55" not in str(as_json(settings))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://parley:s3/cr@et@host/0?ssl_ca_certs=ca.pem", "rediss://parley:***@host/0?ssl_ca_certs=ca.pem"),
        ("redis://host/0?password=s3cret&db=1", "redis://host/0?password=***&db=1"),
        ("rediss://host/0?ssl_password=s3cret", "rediss://host/0?ssl_password=***"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://host:6379/0?client_name=a@b", "redis://host:6379/0?client_name=a@b"),
    ],
)
def test_the_password_of_redis_is_masked(url: str, shown: str, load_text: Load) -> None:
    """Wherever redis-py takes one from, and whatever stands in it."""
    settings = load_text(TEXT, {"PARLEY_RECORDS__TOKEN_LOG": url})
    assert settings.records.token_log == url
    assert as_json(settings)["settings"]["records"]["token_log"] == shown
    assert shown in as_yaml(settings)


def test_json_has_values_and_origins(load_text: Load) -> None:
    """Origins by dotted name."""
    shown = as_json(load_text(TEXT))
    assert shown["settings"]["gateway"]["port"] == 1
    assert shown["origins"]["gateway.port"] == "temporal.yaml:2"
    assert shown["origins"]["gateway.host"] == "default"


def _violations(value: Any, shape: dict[str, Any], defs: dict[str, Any], place: str = "") -> list[str]:
    """Keys of a file that a JSON Schema does not know."""
    options = [shape, *shape.get("anyOf", ())]
    shapes = [defs[option["$ref"].rsplit("/", 1)[1]] if "$ref" in option else option for option in options]
    found: list[str] = []
    if isinstance(value, dict):
        for key, below in value.items():
            candidates = [of["properties"][key] for of in shapes if key in of.get("properties", {})]
            candidates += [pattern for of in shapes for pattern in of.get("patternProperties", {}).values()]
            candidates += [
                of["additionalProperties"] for of in shapes if isinstance(of.get("additionalProperties"), dict)
            ]
            open_ended = any("additionalProperties" not in of and "properties" not in of for of in shapes[1:])
            if candidates:
                found += min((_violations(below, of, defs, f"{place}.{key}") for of in candidates), key=len)
            elif not open_ended:
                found.append(f"{place}.{key}")
    elif isinstance(value, list):
        for below in value:
            for of in shapes:
                if "items" in of:
                    found += _violations(below, of["items"], defs, f"{place}[]")
    return found


def test_the_schema_knows_every_key_of_the_committed_file(repository: Path) -> None:
    """Those of policies among them; and a key that is wrong anywhere is found."""
    schema = json_schema(PolicyRules)
    values = yaml.safe_load((repository / "temporal.yaml").read_text(encoding="utf-8"))
    assert _violations(values, schema, schema["$defs"]) == []
    values["generation"]["ladder"]["empty"][0]["temprature"] = 1
    values["steps"]["review_answer"]["retry"]["maximum"] = 1
    values["policies"]["default"]["inptu"] = {}
    assert sorted(_violations(values, schema, schema["$defs"])) == [
        ".generation.ladder.empty[].temprature",
        ".policies.default.inptu",
        ".steps.review_answer.retry.maximum",
    ]


def test_the_schema_describes_for_editors() -> None:
    """Descriptions and choices are there."""
    schema = json_schema(PolicyRules)
    model = schema["$defs"]["ModelSettings"]["properties"]
    assert model["quantization"]["enum"] == ["fp32", "bf16", "int8", "int4", "gptq", "awq", "checkpoint"]
    assert model["rows"]["description"].startswith("Places in the batch")
    assert schema["$schema"].endswith("2020-12/schema")
