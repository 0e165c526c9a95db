"""A data directory that is opened, closed, left as a crash leaves it, and opened again."""

import shutil
import sqlite3
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from elanus import lite
from elanus.lite.embedded import embedded, resolve
from elanus.runtime.standalone import Instance

GRACE_SECONDS = 1.0
"""Longer than any read takes on a busy machine: one that outlives it finds its files gone."""
SETTINGS: dict[str, bool | int | float | str] = {
    # Two logs, and everything small and soon, so that a short history meets every background job.
    "rootCoord__dmlChannelNum": 2,
    "dataNode__segment__insertBufSize": 12_000,
    "indexCoord__segment__minSegmentNumRowsToEnableIndex": 24,
    "elanus__log__fileBytes": 8192,
    "elanus__flush__checkSeconds": 0.02,
    "elanus__flush__trimSeconds": 0.05,
    "elanus__serve__viewGraceSeconds": 0.05,
    "elanus__serve__refreshOffsets": 8,
    "elanus__serve__deleteBatchKeys": 16,
    "dataCoord__compaction__mix__triggerInterval": 0.05,
    "elanus__compaction__mergeSegments": 2,
    "elanus__compaction__retentionSeconds": 0.01,
    "dataCoord__gc__interval": 0.05,
    "dataCoord__gc__dropTolerance": GRACE_SECONDS,
}


class Deployment:
    """`client` is a MilvusClient served in this process."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="elanus-machine-"))
        self._number = 0
        self._removing = threading.Lock()
        self._open()

    @property
    def path(self) -> Path:
        return self._home / str(self._number)

    def restart(self) -> None:
        self.client.close()
        self._open()

    def crash(self) -> None:
        """Goes on with what the disk holds at this moment; what the instance does when it stops is lost."""
        before, self._number = self.path, self._number + 1
        # What a copy has read must not go before all of it is made, or it is of no one moment.
        with self._removing:
            copy(before, self.path)
        self.client.close()
        shutil.rmtree(before)
        self._open()

    def collect_garbage(self) -> None:
        """Deletes whatever nothing names at this moment."""
        self.instance.garbage.collect()
        time.sleep(GRACE_SECONDS)
        self.instance.garbage.collect()

    def close(self) -> None:
        self.client.close()
        shutil.rmtree(self._home)

    def _open(self) -> None:
        # Any: pymilvus has no types.
        self.client: Any = lite.connect(self.path, db_name="", timeout=None, **SETTINGS)
        instance = embedded._directory(resolve(self.path)).instance
        assert isinstance(instance, Instance)
        self.instance = instance
        # What removes files waits for a copy that is being made.
        instance.objects.delete = self._guarded(instance.objects.delete)  # type: ignore[method-assign]
        instance.broker.trim = self._guarded(instance.broker.trim)  # type: ignore[method-assign]

    def _guarded(self, remove: Any) -> Any:
        def guarded(*arguments: Any) -> None:
            with self._removing:
                remove(*arguments)

        return guarded


def copy(source: Path, target: Path) -> None:
    """A copy of an open directory to which no client writes and from which nothing is removed meanwhile.

    It is a state that a crash could leave, though jobs go on: logs first and objects last, as a manifest
    never refers to records or objects that came after it.
    """
    target.mkdir()
    shutil.copy(source / "elanus.json", target)
    shutil.copytree(source / "logs", target / "logs", copy_function=copy_if_there)
    with (
        closing(sqlite3.connect(source / "meta.db")) as meta,
        closing(sqlite3.connect(target / "meta.db")) as to,
    ):
        meta.backup(to)
    shutil.copytree(source / "objects", target / "objects", copy_function=copy_if_there)


def copy_if_there(source: str, target: str) -> None:
    """A temporary file may have got its name meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)
