"""The document for older generators."""

from __future__ import annotations

import json

import httpx
from openapi_spec_validator import OpenAPIV30SpecValidator

from gateway.openapi import document


async def test_it_is_valid_and_has_every_operation(alone: httpx.AsyncClient) -> None:
    """By the rules of OpenAPI 3.0, without a word that only 3.1 has."""
    served = (await alone.get("/openapi-3.0.json")).json()
    OpenAPIV30SpecValidator(served).validate()
    assert served["paths"].keys() == document()["paths"].keys()
    text = json.dumps(served)
    for word in ('"type": "null"', '"const":', '"prefixItems":', '"contentSchema":'):
        assert word not in text
    tenant = served["components"]["schemas"]["ChatRequest"]["properties"]["tenant"]
    assert tenant["nullable"] is True
