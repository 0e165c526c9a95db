"""What /metrics shows of a process, under Milvus' names where the meaning is the same."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from elanus import __version__

LATENCY_MS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000)
"""Upper bounds of the latency histogram's buckets."""


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, node_id: int) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        build = Gauge("milvus_build_info", "Version of the server.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        self._node = str(node_id)
        self._calls = Counter(
            "milvus_proxy_req_count",
            "Calls that have ended, by method and outcome.",
            ["node_id", "function_name", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "milvus_proxy_req_latency",
            "Time from a call's parsed request to its answer, in milliseconds.",
            ["node_id", "function_name"],
            buckets=LATENCY_MS,
            registry=self.registry,
        )

        self._of_method: dict[tuple[str, bool], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, succeeded: bool, seconds: float) -> None:
        """Count a call that has ended."""
        kept = self._of_method.get((method, succeeded))
        if kept is None:
            kept = self._of_method[method, succeeded] = (
                self._calls.labels(self._node, method, "success" if succeeded else "fail"),
                self._latency.labels(self._node, method),
            )
        calls, latency = kept
        calls.inc()
        latency.observe(seconds * 1000)
