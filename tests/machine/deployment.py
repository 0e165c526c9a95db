"""A data directory that is opened, closed, left as a crash leaves it, and opened again."""

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from elanus import lite

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
    "dataCoord__gc__interval": 0.1,
    # Longer than a copy takes, so that what it has copied names nothing that went while it was made.
    "dataCoord__gc__dropTolerance": 2.0,
}


class Deployment:
    """`client` is a MilvusClient served in this process."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="elanus-machine-"))
        self._number = 0
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
        copy(before, self.path)
        self.client.close()
        shutil.rmtree(before)
        self._open()

    def close(self) -> None:
        self.client.close()
        shutil.rmtree(self._home)

    def _open(self) -> None:
        # Any: pymilvus has no types.
        self.client: Any = lite.connect(self.path, db_name="", timeout=None, **SETTINGS)


def copy(source: Path, target: Path) -> None:
    """A copy of an open directory to which nobody writes: as of one moment, though its jobs go on.

    Logs first and objects last: a manifest never refers to records or objects that came after it. Objects
    first as well: what the manifest names may be garbage, and collected, by the time all else is copied.
    """
    target.mkdir()
    shutil.copytree(source / "objects", target / "objects", copy_function=copy_if_there)
    shutil.copy(source / "elanus.json", target)
    while True:
        before = listing(source / "logs")
        shutil.copytree(source / "logs", target / "logs", copy_function=copy_if_there)
        if listing(source / "logs") == before:
            break
        shutil.rmtree(target / "logs")  # a log was trimmed meanwhile
    with (
        closing(sqlite3.connect(source / "meta.db")) as meta,
        closing(sqlite3.connect(target / "meta.db")) as to,
    ):
        meta.backup(to)
    shutil.copytree(source / "objects", target / "objects", copy_function=copy_if_there, dirs_exist_ok=True)


def listing(path: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of every file; what goes while it is looked at is left out."""
    found = {}
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            stat = file.stat()
            found[file] = (stat.st_size, stat.st_mtime_ns)
    return found


def copy_if_there(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)
