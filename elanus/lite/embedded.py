"""The instances that live in this process: one per data directory, open while somebody uses it."""

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import grpc

from elanus.lite.dispatch import Dispatcher, Limits
from elanus.lite.interrupts import uninterrupted
from elanus.model.errors import InvalidParameter, NotReady

Setting = bool | int | float | str
_log = logging.getLogger(__name__)


class Instance(Protocol):
    """What Lite needs of `runtime.standalone.Instance`."""

    @property
    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler]: ...

    def stop(self) -> None: ...


@dataclass
class _Directory:
    lock: threading.Lock = field(default_factory=threading.Lock)
    settings: dict[str, Setting] = field(default_factory=dict)
    leases: int = 0
    instance: Instance | None = None
    dispatcher: Dispatcher | None = None

    def close(self) -> None:
        instance, dispatcher = self.instance, self.dispatcher
        self.instance = self.dispatcher = None
        self.leases = 0
        if dispatcher is not None:
            dispatcher.close()
        if instance is not None:
            instance.stop()


class Lease:
    """The right to call the instance of a directory until `release`, or until nobody refers to the lease."""

    def __init__(self, directory: _Directory, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._directory: _Directory | None = directory
        self._process = os.getpid()

    def release(self) -> None:
        """Give it up; the last one closes the instance. Idempotent."""
        directory = self._take()
        if directory is not None:
            uninterrupted(lambda: _give_back(directory, self.dispatcher))

    def __del__(self) -> None:
        directory, dispatcher = self._take(), self.dispatcher
        # When the interpreter is ending, `shut_down` has closed all, and a thread could not be started.
        if directory is None or directory.dispatcher is not dispatcher or sys.is_finalizing():
            return
        # A finaliser may run anywhere: it must not wait for a lock, nor close an instance, where it stands.
        threading.Thread(target=lambda: _give_back(directory, dispatcher), name="elanus-lite").start()

    def _take(self) -> _Directory | None:
        directory, self._directory = self._directory, None
        return directory if self._process == os.getpid() else None  # a forked child leaves its parent's alone


def _give_back(directory: _Directory, dispatcher: Dispatcher) -> None:
    with directory.lock:
        # Another instance is there if this one was closed by `close_all` and opened again since.
        if directory.dispatcher is dispatcher:
            directory.leases -= 1
            if directory.leases == 0:
                directory.close()


class Embedded:
    """All open instances of this process, by resolved directory. Safe to use from many threads.

    `open_instance` opens a directory with settings (keys of the configuration).
    """

    def __init__(
        self, open_instance: Callable[[Path, dict[str, Setting]], Instance], limits: Limits | None = None
    ) -> None:
        self._open_instance = open_instance
        self._limits = limits or Limits()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._directories: dict[Path, _Directory] = {}
        self._closing = False

    def configure(self, path: Path, settings: Mapping[str, Setting]) -> None:
        """Open `path` with these settings from now on; {} leaves them as they are.

        Raises InvalidParameter if it is open with other settings.
        """
        if not settings:
            return
        directory = self._directory(path)
        with directory.lock:
            if directory.instance is not None and directory.settings != settings:
                raise InvalidParameter(
                    f"{path} is already open in this process with settings {directory.settings}; "
                    f"close its clients before opening it with {dict(settings)}"
                )
            directory.settings = dict(settings)

    def acquire(self, path: Path) -> Lease:
        """A lease on the instance of `path`, which is opened if it is not open.

        Raises DirectoryInUseError if another process has it, and what opening raises.
        """
        return uninterrupted(lambda: self._acquire(path), undo=Lease.release)

    def _acquire(self, path: Path) -> Lease:
        directory = self._directory(path)
        with directory.lock:
            if self._closing:
                raise NotReady(f"{path} cannot be opened: this process is exiting")
            if directory.dispatcher is None:
                directory.instance = self._open_instance(path, directory.settings)
                directory.dispatcher = Dispatcher(directory.instance.handlers, str(path), self._limits)
            directory.leases += 1
            return Lease(directory, directory.dispatcher)

    def close_all(self) -> None:
        """Close every instance that this process opened, whoever still uses it. Idempotent."""
        if self._process != os.getpid():
            return
        with self._lock:
            directories = list(self._directories.items())
        for path, directory in directories:
            with directory.lock:
                try:
                    directory.close()
                except Exception:  # noqa: BLE001  # one that fails must not keep the others open
                    _log.exception(
                        "closing %s failed; what was acknowledged is recovered at the next start", path
                    )

    def shut_down(self) -> None:
        """Close every instance and open none any more."""
        self._closing = True
        self.close_all()

    def _directory(self, path: Path) -> _Directory:
        # A forked child shares no instance with its parent: it starts with nothing open.
        if self._process != os.getpid():
            self._process, self._lock, self._directories = os.getpid(), threading.Lock(), {}
        with self._lock:
            return self._directories.setdefault(path, _Directory())


def resolve(path: str | os.PathLike[str]) -> Path:
    return Path(path).expanduser().resolve()


def _open_standalone(path: Path, settings: dict[str, Setting]) -> Instance:
    from elanus.runtime.standalone import Instance as Standalone  # heavy: only when something is opened

    if path.exists() and not path.is_dir():
        raise InvalidParameter(
            f"{path} is a file; elanus keeps its data in a directory and cannot open a database file of "
            "milvus-lite: give another path"
        )
    instance: Instance = Standalone.open(path, **settings)
    return instance


embedded = Embedded(_open_standalone)


def _at_exit(action: Callable[[], None]) -> None:
    """Run `action` when the interpreter exits, while threads can still be started and waited for."""
    # `atexit` runs only after all other threads were joined, which an open instance would keep from ending.
    # `concurrent.futures` uses the same hook for the same reason.
    register = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):
        register(action)


_at_exit(embedded.shut_down)
