"""The process of a client: sends prebuilt requests over raw gRPC and notes how long each took.

usage: client.py PLAN RESULT

It prints `ready` when all its threads are connected and warm, starts on the line `go` and ends on `stop` or
after the plan's seconds. Each thread has a connection of its own. Nothing here builds or parses a message.
"""

import pickle
import sys
import threading
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import grpc

CALL_SECONDS = 60.0
MESSAGE_BYTES = 256 << 20


@dataclass
class Plan:
    """`first`, `stride`: where thread t starts in `requests`; `pace`: requests a second of a thread, 0: no
    pause; `once`: every request is sent once, by one thread."""

    target: str
    method: str
    requests: list[bytes]
    threads: int
    seconds: float
    warmup: int = 0
    first: int = 0
    pace: float = 0.0
    once: bool = False


@dataclass
class Result:
    """One entry a request: which, and how many seconds it took; the last answer to each request."""

    indices: list["array[int]"] = field(default_factory=list)
    latencies: list["array[float]"] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    errors: int = 0
    first_error: str = ""


def channel(target: str) -> grpc.Channel:
    return grpc.insecure_channel(
        target,
        options=[
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ],
    )


class Thread(threading.Thread):
    def __init__(self, plan: Plan, number: int, start: threading.Event, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.plan, self.start_event, self.stop_event = plan, start, stop
        self.position = (plan.first + number * max(1, len(plan.requests) // max(1, plan.threads))) % len(
            plan.requests
        )
        self.ready = threading.Event()
        self.indices: array[int] = array("l")
        self.latencies: array[float] = array("d")
        self.answers: dict[int, bytes] = {}
        self.errors = 0
        self.first_error = ""

    def run(self) -> None:
        plan = self.plan
        call = channel(plan.target).unary_unary(plan.method)
        try:
            for number in range(plan.warmup):
                index = (self.position + number) % len(plan.requests)
                call(plan.requests[index], timeout=CALL_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            self.fail(error)
        self.ready.set()
        self.start_event.wait()
        begun = time.perf_counter()
        deadline = begun + plan.seconds
        index, sent = self.position, 0
        while not self.stop_event.is_set():
            now = time.perf_counter()
            if plan.pace and now < begun + sent / plan.pace:
                self.stop_event.wait(begun + sent / plan.pace - now)
                continue
            if now >= deadline or (plan.once and sent == len(plan.requests)):
                return
            try:
                answer = call(plan.requests[index], timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                self.fail(error)
            else:
                self.latencies.append(time.perf_counter() - now)
                self.indices.append(index)
                self.answers[index] = answer
            sent += 1
            index = (index + 1) % len(plan.requests)

    def fail(self, error: grpc.RpcError) -> None:
        self.errors += 1
        self.first_error = self.first_error or str(error)


def main() -> None:
    plan: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    start, stop = threading.Event(), threading.Event()
    threads = [Thread(plan, number, start, stop) for number in range(plan.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.ready.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    threading.Thread(target=wait_for_stop, args=(stop,), daemon=True).start()
    begun = time.perf_counter()
    start.set()
    result = Result()
    for thread in threads:
        thread.join()
        result.indices.append(thread.indices)
        result.latencies.append(thread.latencies)
        result.answers.update(thread.answers)
        result.errors += thread.errors
        result.first_error = result.first_error or thread.first_error
    result.seconds = time.perf_counter() - begun
    Path(sys.argv[2]).write_bytes(pickle.dumps(result))


def wait_for_stop(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


if __name__ == "__main__":
    from benchmarks.wire import client  # so that the plan's classes are those of the pickle

    client.main()
