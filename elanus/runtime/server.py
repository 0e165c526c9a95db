"""The server process: an instance behind gRPC and the management port, until a signal ends it."""

import logging
import os
import threading
import time
from contextlib import ExitStack

from elanus import __version__
from elanus.access.health import health_handlers
from elanus.access.server import GrpcServer
from elanus.access.service.executors import Executors
from elanus.runtime.config import Config
from elanus.runtime.management import ComponentHealth, ManagementServer, State
from elanus.runtime.metrics import Metrics
from elanus.runtime.signals import EndSignals
from elanus.runtime.standalone import NODE_ID, Instance

log = logging.getLogger(__name__)

EXIT_SECONDS = 1.0
"""What the operating system gets of the grace time, to end the process."""


def serve(config: Config) -> None:
    """Serves in the foreground until SIGTERM or Ctrl-C."""
    started = time.monotonic()
    end = EndSignals()
    grace = config.elanus.shutdown.grace_seconds
    with ExitStack() as opened:
        instance = Instance(config)
        instance.start()
        opened.callback(instance.stop)
        metrics = Metrics(NODE_ID)
        threads = config.elanus.executors
        executors = Executors(control=threads.control, read=threads.read, write=threads.write)
        opened.callback(executors.close, wait=False)
        server = GrpcServer(
            {
                **instance.serving_handlers(executors, metrics.observe),
                **health_handlers(instance.unhealthy, executors),
            },
            executors,
            host=config.proxy.ip,
            port=config.proxy.port,
            limits=config.protocol_limits,
        )
        server.start()
        opened.callback(server.stop, grace / 2)

        def health() -> list[ComponentHealth]:
            reasons = instance.unhealthy()
            state = State.ABNORMAL if reasons else State.HEALTHY
            return [ComponentHealth("standalone", state, "; ".join(reasons))]

        management = ManagementServer(
            config.management.ip,
            config.management.port,
            health,
            metrics.registry,
            threads=config.management.threads,
            queue=config.management.queue,
            timeout_seconds=config.management.timeout_seconds,
        )
        management.start()
        opened.callback(management.stop)
        log.info(
            "elanus %s serves %s on %s:%d, management on port %d, after %.2f s",
            __version__,
            config.local_storage.path,
            config.proxy.ip,
            server.port,
            management.port,
            time.monotonic() - started,
        )
        came = end.wait()
        log.info("%s: stopping, calls in flight have %.1f s", came.name, grace / 2)
        _end_within(grace - EXIT_SECONDS)


def _end_within(seconds: float) -> None:
    """A kernel that runs on (an index build) does not hold up the end: it starts again with the server, and
    what was acknowledged is in the log."""
    timer = threading.Timer(max(0.0, seconds), os._exit, (0,))
    timer.daemon = True
    timer.start()
