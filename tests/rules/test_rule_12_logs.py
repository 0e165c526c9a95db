"""Rule 12: a log that was made anew or has lost records is refused when the server starts, by name."""

import shutil
from pathlib import Path

import pytest

from elanus.model.errors import CorruptError
from elanus.storage.log.local import LocalLogBroker
from tests.rules.stage import Stage, channel, flush, insert, make, read


def grown(stage: Stage) -> None:
    """Two files' worth of records, the first ones not sealed."""
    instance = stage.open(elanus__log__fileBytes=4096)
    make(instance)
    for i in range(12):
        insert(instance, "a", list(range(100 * i, 100 * i + 100)))
    stage.close()


def test_a_log_that_was_made_anew_is_refused(stage: Stage) -> None:
    grown(stage)
    stage.lose_log()
    with pytest.raises(CorruptError, match=r"log 'dml_0' is not the one this deployment wrote"):
        stage.open()


def test_a_log_that_was_trimmed_too_far_is_refused(stage: Stage) -> None:
    grown(stage)
    broker = LocalLogBroker(stage.directory / "logs")
    broker.trim("dml_0", broker.end_offset("dml_0"))
    first = broker.start_offset("dml_0")
    broker.close()
    assert first > 0
    with pytest.raises(CorruptError, match=rf"'dml_0' holds offsets {first} to .* continues at 0") as refused:
        stage.open()
    assert "collection 'a'" in refused.value.message


def test_a_log_that_has_lost_its_end_is_refused(stage: Stage, tmp_path: Path) -> None:
    """Restored from an older copy: its identity is right, but the channel is sealed beyond its end."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    stage.close()
    shutil.copytree(stage.directory / "logs" / "dml_0", tmp_path / "copy")
    instance = stage.open()
    insert(instance, "a", [2])
    flush(instance)
    floor = instance.manifests.read(channel(instance)).floor_offset
    stage.close()
    stage.lose_log()
    shutil.copytree(tmp_path / "copy", stage.directory / "logs" / "dml_0")
    with pytest.raises(CorruptError, match=f"continues at {floor}"):
        stage.open()


def test_a_log_that_the_meta_store_knows_nothing_of_is_refused(stage: Stage) -> None:
    grown(stage)
    for path in stage.directory.glob("meta*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CorruptError, match="the meta store knows nothing of it"):
        stage.open()


def test_a_log_that_is_whole_opens(stage: Stage) -> None:
    grown(stage)
    assert len(read(stage.open())) == 1200
