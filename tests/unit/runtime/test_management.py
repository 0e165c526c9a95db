"""The management port, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from elanus.model.errors import Unavailable
from elanus.runtime.management import ComponentHealth, ManagementServer, State


@dataclass
class Health:
    components: list[ComponentHealth] = field(
        default_factory=lambda: [ComponentHealth("proxy", State.HEALTHY)]
    )
    error: Exception | None = None

    def __call__(self) -> list[ComponentHealth]:
        if self.error:
            raise self.error
        return self.components


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("elanus_sample", "A sample.", registry=registry).inc(3)
    return registry


@pytest.fixture
def server(health: Health, registry: CollectorRegistry) -> Iterator[ManagementServer]:
    server = ManagementServer("127.0.0.1", 0, health, registry, threads=2, queue=1, timeout_seconds=0.5)
    server.start()
    yield server
    server.stop()


def get(server: ManagementServer, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def test_a_healthy_server_says_ok(server: ManagementServer, health: Health) -> None:
    health.components.append(ComponentHealth("querycoord", State.STANDBY))
    response, body = get(server, "/healthz")
    assert (response.status, body) == (200, "OK")


def test_an_unhealthy_server_says_how_many_and_why(server: ManagementServer, health: Health) -> None:
    health.components.append(ComponentHealth("datanode", State.ABNORMAL, "the disk is full"))
    response, body = get(server, "/healthz")
    assert response.status == 500
    assert body.splitlines() == ["Not all components are healthy, 1/2", "datanode: the disk is full"]


@pytest.mark.parametrize("header", ["Accept", "Content_Type"])
def test_health_comes_as_json_where_it_is_asked_for(
    server: ManagementServer, health: Health, header: str
) -> None:
    health.components.append(ComponentHealth("datanode", State.STOPPING))
    response, body = get(server, "/healthz", **{header: "application/json"})
    assert response.status == 500
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "state": "Not all components are healthy, 1/2",
        "detail": [{"name": "proxy", "code": 1}, {"name": "datanode", "code": 4}],
    }


def test_a_health_check_that_breaks_is_not_healthy(server: ManagementServer, health: Health) -> None:
    health.error = RuntimeError("no answer")
    response, body = get(server, "/healthz")
    assert response.status == 500
    assert "RuntimeError: no answer" in body
    assert get(server, "/livez")[0].status == 200


def test_metrics_are_prometheus_text_or_openmetrics_when_asked(server: ManagementServer) -> None:
    response, body = get(server, "/metrics?x=1")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert [
        sample.value for family in parse_text(body) for sample in family.samples if "total" in sample.name
    ] == [3]
    response, body = get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(body)  # type: ignore[no-untyped-call]  # the library's
    assert [family.name for family in families] == ["elanus_sample"]


def test_head_has_no_body_and_other_paths_are_not_found(server: ManagementServer) -> None:
    response, body = get(server, "/healthz", "HEAD")
    assert (response.status, response.headers["Content-Length"], body) == (200, "2", "")
    assert get(server, "/nothing")[0].status == 404
    assert get(server, "/healthz", "POST")[0].status == 501


def test_a_taken_port_is_an_error_that_names_it_and_the_flag(
    server: ManagementServer, health: Health, registry: CollectorRegistry
) -> None:
    second = ManagementServer("127.0.0.1", server.port, health, registry)
    with pytest.raises(Unavailable, match=rf"127.0.0.1:{server.port}.*in use.*--management-port"):
        second.start()
    second.stop()


def test_silent_connections_are_bounded_and_closed(server: ManagementServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(10)]
    for connection in silent:
        assert connection.recv(1) == b""
        connection.close()
    assert get(server, "/healthz")[0].status == 200
    assert sum(thread.name.startswith("management_") for thread in threading.enumerate()) <= 2


def test_stop_is_quick_and_frees_the_port(health: Health, registry: CollectorRegistry) -> None:
    server = ManagementServer("127.0.0.1", 0, health, registry)
    server.start()
    port = server.port
    with socket.create_connection(("127.0.0.1", port)):
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
    again = ManagementServer("127.0.0.1", port, health, registry)
    again.start()
    again.stop()
