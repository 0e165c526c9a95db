"""A server with the fake proxy behind it, and calls to it with raw messages."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from elanus.access.health import health_handlers
from elanus.access.protocol import messages
from elanus.access.server import GrpcServer
from elanus.access.service import Executors, handlers
from elanus.model.limits import Limits
from tests.unit.access.fake import FakeProxy

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.
Ask = Callable[..., Any]
LIMITS = Limits(receive_size=4 << 20)


@pytest.fixture(scope="module")
def executors() -> Iterator[Executors]:
    found = Executors(control=2, read=2, write=2)
    yield found
    found.close()


@pytest.fixture
def proxy() -> FakeProxy:
    return FakeProxy()


@pytest.fixture
def server(proxy: FakeProxy, executors: Executors) -> Iterator[GrpcServer]:
    table = handlers(cast("Proxy", proxy), LIMITS, executors=executors) | health_handlers(
        proxy.health, executors
    )
    started = GrpcServer(table, executors, port=0, limits=LIMITS)
    started.start()
    yield started
    started.stop(grace=1)


@pytest.fixture
def channel(server: GrpcServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


@pytest.fixture
def ask(channel: grpc.Channel) -> Ask:
    """`ask("Search", metadata=..., timeout=..., nq=1, ...)`: the answer's message."""

    def call(name: str, *, metadata: Any = (), timeout: float = 10, **fields: Any) -> Any:
        full = next(n for n in messages.methods() if n.endswith(f"/{name}"))
        method = messages.methods()[full]
        request = messages.message(method.input_type.full_name)(**fields)
        answer = messages.message(method.output_type.full_name)
        stub = channel.unary_unary(full)
        return answer.FromString(stub(request.SerializeToString(), timeout=timeout, metadata=metadata))

    return call
