"""All keys of a SQLite meta store, read without changing anything beside it."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from elanus.model.errors import CorruptError, NewerFormatError, NotFoundError
from elanus.storage.meta.port import Item
from elanus.storage.meta.sqlite import FORMAT

_PARTS = ("", "-wal")


@dataclass(frozen=True)
class Snapshot:
    """The items in key order, and the store's revision."""

    format: int
    revision: int
    items: tuple[Item, ...]

    def below(self, prefix: str) -> list[Item]:
        return [item for item in self.items if item.key.startswith(prefix)]


def read_snapshot(path: Path, in_use: bool) -> Snapshot:
    """`in_use`: a process has the store open.

    Then it is read in place, beside that process. Otherwise a copy is read, because even a reader of SQLite
    leaves files behind. Raises NotFoundError, NewerFormatError, CorruptError.
    """
    if not path.exists():
        raise NotFoundError(f"{path} is missing; it holds every collection's definition")
    if in_use:
        return read(path, path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for part in _PARTS:
            source = path.with_name(path.name + part)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + part))
        return read(copy, path)


def read(file: Path, shown: Path) -> Snapshot:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as run:
            run.execute("BEGIN")
            (version,) = run.execute("PRAGMA user_version").fetchone()
            if version > FORMAT:
                raise NewerFormatError(
                    f"{shown} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
                )
            problems = [problem for (problem,) in run.execute("PRAGMA quick_check(1)") if problem != "ok"]
            if problems:
                raise CorruptError(f"{shown} is damaged: {problems[0]}")
            state = run.execute("SELECT revision FROM state").fetchone()
            if state is None:
                raise CorruptError(f"{shown} is damaged: its revision is missing")
            items = run.execute("SELECT key, value, revision FROM kv ORDER BY key")
            return Snapshot(version, state[0], tuple(Item(*row) for row in items))
    except sqlite3.Error as error:
        raise CorruptError(f"{shown} cannot be read: {error}") from error
