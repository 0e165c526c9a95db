"""The service about itself: connection, version, health, time."""

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elanus import __version__
from elanus.access.calls import Call
from elanus.access.protocol import messages

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

PROTOCOL_VERSION = "3.0.0"
_HEALTHY, _ABNORMAL = 1, 2
"""`common.StateCode`."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the server says it is. `version` reads as a semantic version of the protocol, as clients expect."""

    version: str = f"v{PROTOCOL_VERSION}-elanus.{__version__}"
    deploy_mode: str = "STANDALONE"
    node_id: int = 1


class System:
    def __init__(self, proxy: "Proxy", identity: Identity) -> None:
        self._proxy = proxy
        self._identity = identity
        self._connections = itertools.count(time.time_ns())

    def connect(self, call: Call, request: Any) -> Any:
        self._proxy.database(call.database)
        return messages.ConnectResponse(
            server_info=messages.ServerInfo(
                build_tags=self._identity.version, deploy_mode=self._identity.deploy_mode
            ),
            identifier=next(self._connections),
        )

    def version(self, call: Call, request: Any) -> Any:
        return messages.GetVersionResponse(version=self._identity.version)

    def health(self, call: Call, request: Any) -> Any:
        reasons = self._proxy.health()
        return messages.CheckHealthResponse(isHealthy=not reasons, reasons=reasons)

    def component_states(self, call: Call, request: Any) -> Any:
        return messages.ComponentStates(
            state=messages.ComponentInfo(
                nodeID=self._identity.node_id,
                role="proxy",
                state_code=_ABNORMAL if self._proxy.health() else _HEALTHY,
            )
        )

    def allocate_timestamp(self, call: Call, request: Any) -> Any:
        return messages.AllocTimestampResponse(timestamp=self._proxy.allocate_timestamp())
