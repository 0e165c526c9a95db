"""The management port: /healthz, /livez and /metrics over HTTP, apart from the port of the protocol."""

import json
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from elanus.model.errors import Unavailable

logger = logging.getLogger(__name__)


class State(IntEnum):
    """`common.StateCode` of the protocol."""

    INITIALIZING = 0
    HEALTHY = 1
    ABNORMAL = 2
    STANDBY = 3
    STOPPING = 4

    @property
    def serves(self) -> bool:
        return self in (State.HEALTHY, State.STANDBY)


@dataclass(frozen=True)
class ComponentHealth:
    """How one component is; `reason` says why where it does not serve."""

    name: str
    state: State
    reason: str = ""


class Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class ManagementServer:
    """Answers on `host`:`port` between `start` and `stop`.

    At most `threads` requests are answered at a time, `queue` more wait, further connections are closed.
    `health` and `registry` are asked anew for each request.
    """

    def __init__(
        self,
        host: str,
        port: int,
        health: Callable[[], list[ComponentHealth]],
        registry: CollectorRegistry,
        *,
        threads: int = 4,
        queue: int = 16,
        timeout_seconds: float = 10,
    ) -> None:
        self.host = host
        self.health = health
        self.registry = registry
        self._wanted_port = port
        self._threads = threads
        self._queue = queue
        self._timeout_seconds = timeout_seconds
        self._server: _Server | None = None
        self._accepting: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        return self._server.server_port if self._server else self._wanted_port

    def start(self) -> None:
        """Raises Unavailable where the address cannot be listened on."""
        try:
            self._server = _Server(self, self._wanted_port, self._threads, self._queue, self._timeout_seconds)
        except OSError as error:
            raise Unavailable(
                f"the management port cannot listen on {self.host}:{self._wanted_port}: "
                f"{error.strerror or error}; choose another with --management-port or the key management.port"
            ) from error
        self._accepting = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="management", daemon=True
        )
        self._accepting.start()

    def stop(self) -> None:
        """Ends at once; what is being answered may finish."""
        if self._server is None or self._accepting is None:
            return
        self._server.shutdown()
        self._accepting.join()
        self._server.server_close()
        self._server = None

    def answer(self, path: str, accept: str, content_type: str) -> Answer:
        """The answer to a GET of `path`; `accept` and `content_type` are the request's headers."""
        match path:
            case "/healthz":
                as_json = "application/json" in f"{accept},{content_type}"
                return health_answer(self._components(), as_json)
            case "/livez":
                return text(HTTPStatus.OK, "OK")
            case "/metrics" | "/metrics_default":
                encode, encoded_type = choose_encoder(accept)
                return Answer(HTTPStatus.OK, encoded_type, encode(self.registry))
        return text(HTTPStatus.NOT_FOUND, f"{path} is not here; /healthz, /livez and /metrics are\n")

    def _components(self) -> list[ComponentHealth]:
        try:
            return self.health()
        except Exception as error:  # whatever broke, the answer is "not healthy", with the reason
            logger.exception("the health check failed")
            return [ComponentHealth("health", State.ABNORMAL, f"{type(error).__name__}: {error}")]


def health_answer(components: list[ComponentHealth], as_json: bool) -> Answer:
    """200 where every component serves, else 500 with the reasons."""
    sick = [component for component in components if not component.state.serves]
    status = HTTPStatus.INTERNAL_SERVER_ERROR if sick else HTTPStatus.OK
    healthy = len(components) - len(sick)
    summary = f"Not all components are healthy, {healthy}/{len(components)}" if sick else "OK"
    if as_json:
        detail = [
            {"name": c.name, "code": int(c.state)} | ({"reason": c.reason} if c.reason else {})
            for c in components
        ]
        body = json.dumps({"state": summary, "detail": detail})
        return Answer(status, "application/json", body.encode())
    reasons = "".join(f"\n{c.name}: {c.reason or c.state.name.lower()}" for c in sick)
    return text(status, summary + reasons)


def text(status: HTTPStatus, body: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", body.encode())


class _Server(HTTPServer):
    """Hands each connection to one of a few threads."""

    def __init__(
        self, management: ManagementServer, port: int, threads: int, queue: int, timeout_seconds: float
    ) -> None:
        self.management = management
        self.timeout_seconds = timeout_seconds
        self.address_family = socket.AF_INET6 if ":" in management.host else socket.AF_INET
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="management")
        self._room = threading.Semaphore(threads + queue)
        try:
            super().__init__((management.host, port), _Handler)
        except OSError:
            self._pool.shutdown()
            raise

    def server_bind(self) -> None:
        # HTTPServer's own asks the name server who we are, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name = self.management.host
        self.server_port = self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            logger.warning("management connection refused: all threads and the queue are busy")
            self.shutdown_request(request)
            return
        self._pool.submit(self._serve, request, client_address)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(self.timeout_seconds)
            self.finish_request(request, client_address)
        except OSError as error:
            logger.debug("management connection lost: %s", error)
        except Exception:  # a broken collector must not take the thread with it
            logger.exception("a management request failed")
        finally:
            self.shutdown_request(request)
            self._room.release()

    def server_close(self) -> None:
        super().server_close()
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "elanus"
    sys_version = ""

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def _send(self, with_body: bool) -> None:
        answer = self.server.management.answer(
            urlsplit(self.path).path, self.headers.get("Accept", ""), self.headers.get("Content-Type", "")
        )
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)
