"""The server's side of the background process: started when there is work, and again after a crash."""

import logging
import os
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
from elanus.workers.background import Accepted, Answer, Build, Compact, Done, Failed, Settings

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
    """At most one process, one task at a time. It ends by itself when it has been idle for a while."""

    def __init__(self, settings: Settings, stop_seconds: float) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._working = threading.Lock()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the process, if one is running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def run(self, task: Build | Compact) -> Done:
        """Raises what the task raised, BackgroundCrashed, or NotReady once this is stopped."""
        with self._working:
            for _ in range(_STARTS):
                process = self._start()
                answer = self._exchange(process, task)
                if answer is not None:
                    return _result(answer)
                self._reap(process)
            raise BackgroundCrashed("the background process ends before it takes a task; see the log")

    def stop(self) -> None:
        """Ends the process and with it the task under way."""
        with self._changing:
            self._stopped = True
            process = self._process
        if process is None:
            return
        process.kill()
        try:
            process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            log.warning("the background process %d does not end", process.pid)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._changing:
            if self._stopped:
                raise NotReady("the server is stopping")
            if self._process is not None and self._process.poll() is None:
                return self._process
            package = str(Path(elanus.__file__).parent.parent)
            path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", background.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C is meant for the server, which ends this process itself.
                start_new_session=True,
            )
            log.info("the background process %d has started", self._process.pid)
        try:
            assert self._process.stdin is not None, "its input is a pipe"
            background.send(self._process.stdin, self._settings)  # type: ignore[arg-type]  # IO[bytes]
        except OSError:
            log.warning("the background process %d ended at once", self._process.pid)
        return self._process

    def _exchange(self, process: "subprocess.Popen[bytes]", task: Build | Compact) -> Answer | None:
        """None where the process ended before it took the task."""
        assert process.stdin is not None, "its input is a pipe"
        assert process.stdout is not None, "its output is a pipe"
        try:
            background.send(process.stdin, task)  # type: ignore[arg-type]  # IO[bytes]
        except OSError:
            return None
        if self._receive(process) is None:
            return None
        answer = self._receive(process)
        if answer is not None:
            return answer
        self._reap(process)
        if self._stopped:
            raise NotReady("the server is stopping")
        raise BackgroundCrashed(f"the background process was ended by {_cause(process.returncode)}")

    def _receive(self, process: "subprocess.Popen[bytes]") -> Answer | None:
        frame = background.receive(process.stdout)  # type: ignore[arg-type]  # IO[bytes]
        if frame is None:
            return None
        return msgspec.msgpack.decode(frame, type=Answer)  # type: ignore[no-any-return]  # a union

    def _reap(self, process: "subprocess.Popen[bytes]") -> None:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    log.debug("the pipe to the background process was broken")


def _result(answer: Answer) -> Done:
    match answer:
        case Done():
            return answer
        case Failed(kind, message, code, trace):
            log.error("in the background process:\n%s", trace)
            raise _KINDS.get(kind, ElanusError)(message, Code(code))
        case Accepted():
            raise BackgroundCrashed("the background process took a task twice")


def _cause(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"itself with status {code}"
