"""Who may open a data directory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elanus.model.errors import CorruptError, DirectoryInUseError, InvalidParameter, NewerFormatError
from elanus.storage.directory import FORMAT_FILE, DataDirectory

HOLDER = """
import sys, time
from pathlib import Path
from elanus.storage.directory import DataDirectory

directory = DataDirectory.open(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(600)
"""


def test_a_directory_in_use_names_the_process_that_has_it_until_that_dies(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    with pytest.raises(DirectoryInUseError) as caught:
        DataDirectory.open(tmp_path)
    assert str(child.pid) in str(caught.value)
    assert Path(sys.executable).name in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    child.send_signal(signal.SIGKILL)
    child.wait()
    DataDirectory.open(tmp_path).close()


def test_a_directory_opened_twice_by_one_process_says_so(tmp_path: Path) -> None:
    with (
        DataDirectory.open(tmp_path / "new" / "er"),
        pytest.raises(DirectoryInUseError, match=f"this process .*{os.getpid()}"),
    ):
        DataDirectory.open(tmp_path / "new" / "er")
    again = DataDirectory.open(tmp_path / "new" / "er")
    again.close()
    again.close()


def test_a_newer_directory_is_refused_naming_both_formats_and_who_made_it(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path).close()
    (tmp_path / FORMAT_FILE).write_text(json.dumps({"format": 99, "created_by": "7.5.3", "more": 1}))
    with pytest.raises(NewerFormatError, match=r"format 99, made by elanus 7\.5\.3.*up to format 1"):
        DataDirectory.open(tmp_path)
    (tmp_path / FORMAT_FILE).write_text("{")
    with pytest.raises(CorruptError, match=FORMAT_FILE):
        DataDirectory.open(tmp_path)
    (tmp_path / FORMAT_FILE).unlink()
    DataDirectory.open(tmp_path).close()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidParameter, match="is a file"):
        DataDirectory.open(tmp_path / "file")
    with pytest.raises(InvalidParameter, match="is a file"):
        DataDirectory.open(tmp_path / "file" / "below")


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidParameter, match=r"not empty: it holds thesis\.txt"):
        DataDirectory.open(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
