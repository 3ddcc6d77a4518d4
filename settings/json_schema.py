"""The JSON Schema of ``temporal.yaml``, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from settings.schema import Settings

__all__ = ["json_schema"]


def json_schema(policy: type[BaseModel]) -> dict[str, Any]:
    """Draft 2020-12. ``policy`` gives the shape of what stands under ``policies``."""
    refs, definitions = models_json_schema([(Settings, "validation"), (policy, "validation")])
    defs: dict[str, Any] = definitions["$defs"]
    for shape in defs.values():
        if "properties" in shape:
            # the loader refuses keys it does not know everywhere, also where the vocabulary itself would not
            shape["additionalProperties"] = False
    root = defs.pop(refs[Settings, "validation"]["$ref"].rsplit("/", 1)[1])
    policies = root["properties"]["policies"]
    policies.pop("patternProperties", None)
    policies["additionalProperties"] = refs[policy, "validation"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "title": "temporal.yaml", "$defs": defs}
