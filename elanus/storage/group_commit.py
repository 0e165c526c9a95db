"""Group commit: calls of many threads share one durable write; no timer, no thread of its own."""

import copy
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, TypeVar

from elanus.model.errors import AmbiguousError

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


class _State(Enum):
    WAITING = auto()
    LEADING = auto()
    TAKEN = auto()
    DONE = auto()


class _Call(Generic[Request, Outcome]):
    __slots__ = ("error", "gate", "outcome", "request", "state", "weight")

    def __init__(self, request: Request, weight: int) -> None:
        self.request = request
        self.weight = weight
        self.state = _State.WAITING
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()
        self.gate.acquire()


class GroupCommit(Generic[Request, Outcome]):
    """Calls `commit` with what has come in while the previous commit was running, one at a time.

    `commit` gets requests in the order they came (total weight <= `weight_limit`, but at least one) and
    returns an outcome for each. What it raises is raised to every caller of that group.
    """

    def __init__(self, commit: Callable[[list[Request]], list[Outcome]], weight_limit: int) -> None:
        self._commit = commit
        self._weight_limit = weight_limit
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: deque[_Call[Request, Outcome]] = deque()
        self._busy = False

    def submit(self, request: Request, weight: int = 1) -> Outcome:
        call: _Call[Request, Outcome] = _Call(request, weight)
        with self._lock:
            self._waiting.append(call)
            if not self._busy:
                self._busy = True
                call.state = _State.LEADING
        if call.state is not _State.LEADING:
            self._await_turn(call)
        if call.state is _State.LEADING:
            self._lead()
        if call.error is not None:
            raise call.error
        return call.outcome  # type: ignore[return-value]  # set together with DONE

    def drain(self) -> None:
        """Returns when nothing is being committed and nobody waits."""
        with self._idle:
            while self._busy:
                self._idle.wait()

    def _await_turn(self, call: _Call[Request, Outcome]) -> None:
        try:
            call.gate.acquire()
        except BaseException:
            # Ctrl-C in a waiting caller must not leave the group without a leader.
            with self._lock:
                if call.state in (_State.WAITING, _State.LEADING):
                    self._waiting.remove(call)
                if call.state is _State.LEADING:
                    self._hand_over()
            raise

    def _lead(self) -> None:
        with self._lock:
            group = self._take()
        try:
            outcomes = self._commit([call.request for call in group])
            for call, outcome in zip(group, outcomes, strict=True):
                call.outcome = outcome
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to every caller of the group
            for call in group:
                call.error = error if call is group[0] else copy.copy(error)
        except BaseException:
            for call in group[1:]:
                call.error = AmbiguousError("the thread that wrote for this call was interrupted")
            raise
        finally:
            with self._lock:
                for call in group:
                    call.state = _State.DONE
                self._hand_over()
            for call in group[1:]:
                call.gate.release()

    def _take(self) -> list[_Call[Request, Outcome]]:
        group = [self._waiting.popleft()]
        weight = group[0].weight
        while self._waiting and weight + self._waiting[0].weight <= self._weight_limit:
            group.append(self._waiting.popleft())
            weight += group[-1].weight
        for call in group:
            call.state = _State.TAKEN
        return group

    def _hand_over(self) -> None:
        """The first that waits leads next; so a leader's own call is always the first of its group."""
        if self._waiting:
            self._waiting[0].state = _State.LEADING
            self._waiting[0].gate.release()
        else:
            self._busy = False
            self._idle.notify_all()
