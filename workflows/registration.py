"""Tells a Temporal server the search attributes that conversations set: an unknown one stops every turn."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client

from workflows.names import SEARCH_ATTRIBUTES

__all__ = ["add_search_attributes", "missing_search_attributes", "register_search_attributes"]

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


async def missing_search_attributes(client: Client) -> list[str]:
    """The names that the namespace does not know yet."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    return [name for name in SEARCH_ATTRIBUTES if name not in known]


async def register_search_attributes(client: Client) -> list[str]:
    """Adds those that are missing and returns their names. Raises RPCError where that is not allowed."""
    missing = await missing_search_attributes(client)
    if missing:
        await add_search_attributes(client, missing)
    return missing


async def add_search_attributes(client: Client, names: Iterable[str]) -> None:
    """Adds these, without asking which are there. Raises RPCError where that is not allowed."""
    types = {name: _TYPES[SEARCH_ATTRIBUTES[name]] for name in names}
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=types)
    await client.operator_service.add_search_attributes(request)
