"""The background process: index builds and compactions beside a server, at low priority.

`python -m elanus.workers.background` reads frames from its standard input and answers on its standard output:
four bytes of length, then a MessagePack message. The first frame is `Settings`; each further one is a task,
answered by `Accepted` when its turn comes and later by `Done` or `Failed`. Each kind of task has a lane, a
thread that does one after the other, so a long compaction holds up no index build. The process ends when its
input ends, which it does with the server, and after a while without work.
"""

import ctypes
import os
import queue
import struct
import sys
import threading
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, ClassVar

import msgspec

from elanus.model.codes import Code
from elanus.model.nouns import IndexFile
from elanus.roles.data import CompactionResult, CompactionTask
from elanus.roles.index import IndexTask

FRAME_LIMIT = 64 << 20
"""Bytes; a longer frame is not one."""
_LENGTH = struct.Struct("<I")
_NICE = 19
_OOM_SCORE = "500"
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""System call numbers."""
_IOPRIO_LOWEST_BEST_EFFORT = 2 << 13 | 7


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a background process has to know once."""

    objects: Path
    """Directory of the local object store."""
    scratch: Path
    build_threads: int
    batch_bytes: int
    idle_seconds: float


class Lane(StrEnum):
    """What is done one after the other."""

    BUILDS = "builds"
    COMPACTIONS = "compactions"


class Build(msgspec.Struct, frozen=True, tag=True):
    task: IndexTask
    lane: ClassVar = Lane.BUILDS


class Compact(msgspec.Struct, frozen=True, tag=True):
    task: CompactionTask
    lane: ClassVar = Lane.COMPACTIONS


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The task was begun: from here on its end is the task's, not that of an idle process."""

    lane: Lane


class Done(msgspec.Struct, frozen=True, tag=True):
    lane: Lane
    index: IndexFile | None = None
    compaction: CompactionResult | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    lane: Lane
    kind: str
    message: str
    code: int
    trace: str


Task = Build | Compact
Answer = Accepted | Done | Failed

_encoder = msgspec.msgpack.Encoder(enc_hook=str)


def _path(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else value


def send(stream: BinaryIO, message: msgspec.Struct) -> None:
    """Raises OSError where nobody reads any more."""
    body = _encoder.encode(message)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """The next frame; None where the stream has ended, in a frame or before one."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > FRAME_LIMIT:
        return None
    body = stream.read(length)
    return body if len(body) == length else None


def main() -> None:
    # Kernels print now and then: what they print must not get between the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _lower_priority()
    first = receive(sys.stdin.buffer)
    if first is None:
        return
    work = Work(msgspec.msgpack.decode(first, type=Settings, dec_hook=_path), answers)
    threading.Thread(target=work.read, args=(sys.stdin.buffer,), daemon=True).start()
    work.wait_until_idle()
    # The reading thread holds the lock of the standard input for ever.
    os._exit(0)


class Work:
    """The tasks of this process."""

    def __init__(self, settings: Settings, answers: BinaryIO) -> None:
        from elanus.storage.objects.local import LocalObjectStore
        from elanus.workers.compactor import CompactionLimits, LocalCompactionNode
        from elanus.workers.index_node import IndexLimits, LocalIndexNode

        objects = LocalObjectStore(settings.objects, shared=True)
        self._indexes = LocalIndexNode(
            objects=objects, scratch=settings.scratch, limits=IndexLimits(threads=settings.build_threads)
        )
        self._compactions = LocalCompactionNode(
            objects=objects,
            scratch=settings.scratch,
            limits=CompactionLimits(batch_bytes=settings.batch_bytes),
        )
        self._idle_seconds = settings.idle_seconds
        self._answers = answers
        self._answering = threading.Lock()
        self._changed = threading.Condition()
        self._open = 0
        """Tasks that were read and are not answered."""
        self._lanes: dict[Lane, queue.SimpleQueue[Task]] = {lane: queue.SimpleQueue() for lane in Lane}
        for lane in Lane:
            threading.Thread(target=self._serve, args=(lane,), name=lane, daemon=True).start()

    def read(self, stream: BinaryIO) -> None:
        while (frame := receive(stream)) is not None:
            task = msgspec.msgpack.decode(frame, type=Task)
            with self._changed:
                self._open += 1
                self._changed.notify_all()
            self._lanes[task.lane].put(task)
        # The server is gone, however it went. Nobody waits for what is being made.
        os._exit(1)

    def wait_until_idle(self) -> None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: not self._open)
                if not self._changed.wait_for(lambda: self._open, self._idle_seconds):
                    return

    def _serve(self, lane: Lane) -> None:
        while True:
            task = self._lanes[lane].get()
            self._answer(Accepted(lane))
            try:
                match task:
                    case Build(asked):
                        done = Done(lane, index=self._indexes.build(asked))
                    case Compact(asked):
                        done = Done(lane, compaction=self._compactions.compact(asked))
            except Exception as error:  # noqa: BLE001  # told to whoever sent the task
                self._answer(_failed(lane, error))
            else:
                self._answer(done)
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _answer(self, answer: msgspec.Struct) -> None:
        with self._answering:
            try:
                send(self._answers, answer)
            except BrokenPipeError:
                os._exit(0)


def _failed(lane: Lane, error: Exception) -> Failed:
    import traceback

    code = getattr(error, "code", Code.SERVICE_INTERNAL)
    return Failed(
        lane=lane,
        kind=type(error).__name__,
        message=str(error),
        code=int(code),
        trace="".join(traceback.format_exception(error)),
    )


def _lower_priority() -> None:
    """As much as this system lets us: the work is done all the same."""
    with suppress(OSError):
        os.nice(_NICE)
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(OSError):
        # Where memory runs out, this process goes before the server does.
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_LOWEST_BEST_EFFORT)


if __name__ == "__main__":
    main()
