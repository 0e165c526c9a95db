"""The log broker on local append files: `<directory>/<log>/<first offset>.log`, one process."""

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from elanus.model.errors import ElanusError, InvalidParameter, NotFoundError, StorageError
from elanus.storage.disk import disk_error, fsync_directory
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local_log import LocalLog, check_name
from elanus.storage.log.port import Appended
from elanus.storage.log.reader import LocalSubscription


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class LocalLogBroker:
    """A `LogBroker`. Opening it recovers every log below `directory` (the last file of each is read).

    `clock` gives milliseconds since the epoch; append times never decrease within a log, whatever it says.
    """

    def __init__(
        self, directory: Path, limits: LogLimits | None = None, clock: Callable[[], int] = wall_ms
    ) -> None:
        """Raises CorruptError (file and byte), NewerFormatError, StorageError."""
        self._directory = directory
        self._limits = limits or LogLimits()
        self._clock = clock
        self._lock = threading.Lock()
        self._logs: dict[str, LocalLog] = {}
        self._closed = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            folders = sorted(directory.iterdir())
            for folder in folders:
                if folder.name.startswith(".") and folder.is_dir():
                    # What a crash left of a creation or a drop.
                    shutil.rmtree(folder)
                elif folder.is_dir():
                    self._open(folder)
        except OSError as error:
            self.close()
            raise disk_error(error, f"cannot open the logs in {directory}") from error
        except ElanusError:
            self.close()
            raise

    def create(self, log: str) -> None:
        check_name(log)
        with self._lock:
            self._check_open()
            if log not in self._logs:
                folder = self._directory / log
                LocalLog.create(folder, log)
                self._open(folder)

    def logs(self) -> list[str]:
        return sorted(self._logs)

    def append(self, log: str, record: bytes) -> Appended:
        return self._log(log).append((record,))[0]

    def append_batch(self, log: str, records: Sequence[bytes]) -> list[Appended]:
        return self._log(log).append(records)

    def identity(self, log: str) -> str:
        return self._log(log).identity

    def start_offset(self, log: str) -> int:
        return self._log(log).start_offset

    def end_offset(self, log: str) -> int:
        return self._log(log).end_offset

    def subscribe(self, log: str, from_offset: int) -> LocalSubscription:
        found = self._log(log)
        if from_offset < 0:
            raise InvalidParameter(f"offset {from_offset}: offsets begin at 0")
        if from_offset > found.end_offset:
            raise NotFoundError(
                f"offset {from_offset} of log {log} does not exist: the log ends at {found.end_offset}; "
                "it was made anew or has lost records"
            )
        return LocalSubscription(found, from_offset)

    def trim(self, log: str, before: int) -> None:
        self._log(log).trim(before)

    def drop(self, log: str) -> None:
        """Subscriptions to it raise StorageError from here on. Nothing if it does not exist."""
        with self._lock:
            self._check_open()
            found = self._logs.pop(log, None)
            if found is None:
                return
            found.end(f"log {log} was dropped")
            try:
                doomed = found.folder.rename(found.folder.with_name(f".dropped-{uuid.uuid4().hex}"))
                fsync_directory(self._directory)
                shutil.rmtree(doomed)
            except OSError as error:
                raise disk_error(error, f"cannot drop the log {found.folder}") from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for log in self._logs.values():
                log.end("the log broker is closed")

    def _log(self, log: str) -> LocalLog:
        found = self._logs.get(log)
        if found is None:
            raise NotFoundError(f"there is no log {log!r}; there are {self.logs()}")
        return found

    def _open(self, folder: Path) -> None:
        self._logs[folder.name] = LocalLog(folder, self._limits, self._clock)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the log broker is closed")
