"""Aliases: create, alter, drop, describe, list."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.limits import Limits

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.


class Aliases:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        check_name("alias", request.alias, self._limits)
        self._proxy.create_alias(call.database, request.collection_name, request.alias)
        return success()

    def alter(self, call: Call, request: Any) -> Any:
        check_name("alias", request.alias, self._limits)
        self._proxy.alter_alias(call.database, request.collection_name, request.alias)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        check_name("alias", request.alias, self._limits)
        self._proxy.drop_alias(call.database, request.alias)
        return success()

    def describe(self, call: Call, request: Any) -> Any:
        check_name("alias", request.alias, self._limits)
        found = self._proxy.aliased(call.database, request.alias)
        return messages.DescribeAliasResponse(
            db_name=call.database, alias=request.alias, collection=found.name
        )

    def list(self, call: Call, request: Any) -> Any:
        return messages.ListAliasesResponse(
            db_name=call.database,
            collection_name=request.collection_name,
            aliases=self._proxy.aliases(call.database, request.collection_name),
        )
