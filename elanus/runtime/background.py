"""The server's side of the background process: started when there is work, and again after a crash."""

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

import elanus
from elanus.model.codes import Code
from elanus.model.errors import ConflictError, CorruptError, ElanusError, NotFoundError, NotReady
from elanus.model.nouns import IndexFile
from elanus.model.schema import Field
from elanus.roles.data import CompactionNode, CompactionResult, CompactionTask
from elanus.roles.index import IndexNode, IndexTask
from elanus.workers import background
from elanus.workers.background import Accepted, Answer, Build, Compact, Done, Failed, Lane, Settings

log = logging.getLogger(__name__)

_KINDS = {error.__name__: error for error in (ConflictError, CorruptError, NotFoundError)}
"""Errors on which a coordinator acts."""
_STARTS = 3
"""A process that ends before it takes the task is started again, at most so often."""


class BackgroundLimits(msgspec.Struct, frozen=True, kw_only=True):
    build_elements: int
    """An index over at most so many numbers (rows x dimensions) is built in this process."""
    compaction_bytes: int
    """Segments of at most so many bytes are rewritten in this process."""
    stop_seconds: float
    """A process that is told to end is killed after so long."""


class BackgroundCrashed(ElanusError):
    """The background process ended in the middle of a task."""


class BackgroundNode:
    """`roles.IndexNode` and `roles.CompactionNode`: small tasks here, all others in one process beside."""

    def __init__(
        self,
        *,
        indexes: IndexNode,
        compactions: CompactionNode,
        settings: Settings,
        limits: BackgroundLimits,
    ) -> None:
        self._indexes = indexes
        self._compactions = compactions
        self._limits = limits
        self.process = BackgroundProcess(settings, limits.stop_seconds)

    def build(self, task: IndexTask) -> IndexFile:
        field = task.schema.by_id[task.definition.field_id]
        if task.segment.rows * _numbers(field) <= self._limits.build_elements or not possible():
            return self._indexes.build(task)
        index = self.process.run(Build(task)).index
        assert index is not None, "a build is answered with an index"
        return index

    def compact(self, task: CompactionTask) -> CompactionResult:
        size = sum(s.bytes for s in task.inputs)
        if size <= self._limits.compaction_bytes or not possible():
            return self._compactions.compact(task)
        result = self.process.run(Compact(task)).compaction
        assert result is not None, "a compaction is answered with its result"
        return result

    def stop(self) -> None:
        self.process.stop()


def possible() -> bool:
    """Whether there is an interpreter to start: an embedded one may not know its own."""
    return bool(sys.executable) and Path(sys.executable).is_file()


def _numbers(field: Field) -> int:
    """Per vector, for how long its index takes; a sparse one has no dimension."""
    return max(field.dim, 1)


class BackgroundProcess:
    """At most one process, in it one task of each kind at a time. It ends by itself when it has been idle."""

    def __init__(self, settings: Settings, stop_seconds: float) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._lanes = {lane: threading.Lock() for lane in Lane}
        self._changing = threading.Lock()
        self._child: _Child | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the process, if one is running."""
        child = self._child
        return child.process.pid if child is not None and child.process.poll() is None else None

    def run(self, task: Build | Compact) -> Done:
        """Raises what the task raised, BackgroundCrashed, or NotReady once this is stopped."""
        with self._lanes[task.lane]:
            for _ in range(_STARTS):
                child = self._start()
                try:
                    answer = child.do(task)
                except BackgroundCrashed:
                    if self._stopped:
                        raise NotReady("the server is stopping") from None
                    raise
                if answer is not None:
                    return _result(answer)
            raise BackgroundCrashed("the background process ends before it takes a task; see the log")

    def stop(self) -> None:
        """Ends the process and with it the tasks under way."""
        with self._changing:
            self._stopped = True
            child = self._child
        if child is None:
            return
        child.process.kill()
        try:
            child.process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            log.warning("the background process %d does not end", child.process.pid)

    def _start(self) -> "_Child":
        with self._changing:
            if self._stopped:
                raise NotReady("the server is stopping")
            if self._child is None or self._child.ended:
                self._child = _Child(self._settings)
                log.info("the background process %d has started", self._child.process.pid)
            return self._child


class _Child:
    """A process that was started, and the thread that reads what it answers."""

    def __init__(self, settings: Settings) -> None:
        package = str(Path(elanus.__file__).parent.parent)
        path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", background.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is meant for the server, which ends this process itself.
            start_new_session=True,
        )
        self._sending = threading.Lock()
        self._ended = False
        self._answers: dict[Lane, queue.SimpleQueue[Answer | None]] = {
            lane: queue.SimpleQueue() for lane in Lane
        }
        threading.Thread(target=self._read, name="background-answers", daemon=True).start()
        if not self._send(settings):
            log.warning("the background process %d ended at once", self.process.pid)

    @property
    def ended(self) -> bool:
        return self._ended or self.process.poll() is not None

    def do(self, task: Build | Compact) -> Answer | None:
        """The answer; None where the process ended before it began. Raises BackgroundCrashed."""
        answers = self._answers[task.lane]
        if not self._send(task) or answers.get() is None:
            self._ended = True
            return None
        answer = answers.get()
        if answer is None:
            raise BackgroundCrashed(f"the background process was ended by {_cause(self.process.returncode)}")
        return answer

    def _send(self, message: msgspec.Struct) -> bool:
        """False where nobody reads any more."""
        assert self.process.stdin is not None, "its input is a pipe"
        with self._sending:
            try:
                background.send(self.process.stdin, message)  # type: ignore[arg-type]  # IO[bytes]
            except (OSError, ValueError):  # ValueError: closed by the thread that has read the end
                return False
        return True

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None, "its output is a pipe"
        try:
            while (frame := background.receive(stream)) is not None:  # type: ignore[arg-type]  # IO[bytes]
                answer: Answer = msgspec.msgpack.decode(frame, type=Answer)
                self._answers[answer.lane].put(answer)
        finally:
            self._reap()
            for answers in self._answers.values():
                answers.put(None)

    def _reap(self) -> None:
        self._ended = True
        self.process.kill()
        self.process.wait()
        with self._sending:
            for pipe in (self.process.stdin, self.process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    log.debug("the pipe to the background process was broken")


def _result(answer: Answer) -> Done:
    match answer:
        case Done():
            return answer
        case Failed(_, kind, message, code, trace):
            log.error("in the background process:\n%s", trace)
            raise _KINDS.get(kind, ElanusError)(message, Code(code))
        case Accepted():
            raise BackgroundCrashed("the background process took a task twice")


def _cause(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"itself with status {code}"
