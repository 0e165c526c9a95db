"""Databases."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.translate.params import pairs, to_pairs
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.limits import Limits
from elanus.model.properties import Scope, check

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.


class Databases:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        check_name("database", request.db_name, self._limits)
        properties = pairs(request.properties)
        check(Scope.DATABASE, properties)
        self._proxy.create_database(request.db_name, properties)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        check_name("database", request.db_name, self._limits)
        self._proxy.drop_database(request.db_name)
        return success()

    def list(self, call: Call, request: Any) -> Any:
        found = self._proxy.databases()
        return messages.ListDatabasesResponse(
            db_names=[d.name for d in found],
            created_timestamp=[d.created_ts for d in found],
            db_ids=[d.id for d in found],
        )

    def describe(self, call: Call, request: Any) -> Any:
        found = self._proxy.database(call.database)
        return messages.DescribeDatabaseResponse(
            db_name=found.name,
            dbID=found.id,
            created_timestamp=found.created_ts,
            properties=to_pairs(found.properties),
        )

    def alter(self, call: Call, request: Any) -> Any:
        self._proxy.alter_database(call.database, pairs(request.properties), list(request.delete_keys))
        return success()
