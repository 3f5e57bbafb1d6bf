"""Registers the search attributes of calls, so that workflows can be listed by them."""

from loguru import logger
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from agent.lifecycle.workflow import SEARCH_ATTRIBUTES

KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD


async def register(client: Client) -> bool:
    """Add what is missing; whether the namespace has all of them.

    Where it may not be done by a client, as in Temporal Cloud, they are added by an operator.
    """
    wanted = {key.name for key in SEARCH_ATTRIBUTES}
    try:
        if missing := wanted - await _present(client):
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace,
                    search_attributes=dict.fromkeys(
                        missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                    ),
                )
            )
        return wanted <= await _present(client)
    except RPCError as error:
        logger.warning("Workflows have no search attributes", why=error.message)
        return False


async def _present(client: Client) -> set[str]:
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return set(listed.custom_attributes)
