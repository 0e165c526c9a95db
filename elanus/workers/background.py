"""The background process: index builds and compactions beside a server, at low priority.

`python -m elanus.workers.background` reads frames from its standard input and answers on its standard output:
four bytes of length, then a MessagePack message. The first frame is `Settings`; each further one is a task,
answered by `Accepted` at once and later by `Done` or `Failed`. It ends when its input ends, which it does
with the server, and after a while without work.
"""

import ctypes
import os
import queue
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

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


class Build(msgspec.Struct, frozen=True, tag=True):
    task: IndexTask


class Compact(msgspec.Struct, frozen=True, tag=True):
    task: CompactionTask


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The task was read: from here on its end is the task's, not that of an idle process."""


class Done(msgspec.Struct, frozen=True, tag=True):
    index: IndexFile | None = None
    compaction: CompactionResult | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
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
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    first = receive(sys.stdin.buffer)
    if first is None:
        return
    settings = msgspec.msgpack.decode(first, type=Settings, dec_hook=_path)
    threading.Thread(target=_read_tasks, args=(sys.stdin.buffer, tasks), daemon=True).start()
    with suppress(BrokenPipeError):
        _serve(settings, tasks, answers)
    # The reading thread holds the lock of the standard input for ever.
    os._exit(0)


def _read_tasks(stream: BinaryIO, tasks: "queue.SimpleQueue[bytes]") -> None:
    while (frame := receive(stream)) is not None:
        tasks.put(frame)
    # The server is gone, however it went. Nobody waits for what is being made.
    os._exit(1)


def _serve(settings: Settings, tasks: "queue.SimpleQueue[bytes]", answers: BinaryIO) -> None:
    from elanus.storage.objects.local import LocalObjectStore
    from elanus.workers.compactor import CompactionLimits, LocalCompactionNode
    from elanus.workers.index_node import IndexLimits, LocalIndexNode

    objects = LocalObjectStore(settings.objects, shared=True)
    indexes = LocalIndexNode(
        objects=objects, scratch=settings.scratch, limits=IndexLimits(threads=settings.build_threads)
    )
    compactions = LocalCompactionNode(
        objects=objects,
        scratch=settings.scratch,
        limits=CompactionLimits(batch_bytes=settings.batch_bytes),
    )
    while True:
        try:
            frame = tasks.get(timeout=settings.idle_seconds)
        except queue.Empty:
            return
        send(answers, Accepted())
        try:
            match msgspec.msgpack.decode(frame, type=Task):
                case Build(task):
                    done = Done(index=indexes.build(task))
                case Compact(task):
                    done = Done(compaction=compactions.compact(task))
        except Exception as error:  # noqa: BLE001  # told to whoever sent the task
            send(answers, _failed(error))
        else:
            send(answers, done)


def _failed(error: Exception) -> Failed:
    import traceback

    code = getattr(error, "code", Code.SERVICE_INTERNAL)
    return Failed(
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
