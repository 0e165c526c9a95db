"""Rule 7: an append is durable when it returns, and nobody repeats it."""

import pytest

from elanus.model.errors import AmbiguousError, StorageError
from tests.rules.stage import Stage, count, failing, insert, make, once, read, upsert


def test_an_append_whose_outcome_is_unknown_is_reported_and_not_repeated(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    stage.hooks.after_append = once(failing(AmbiguousError("the answer was lost")))
    with pytest.raises(AmbiguousError, match="the answer was lost"):
        insert(instance, "a", [1])
    assert count(instance) == 1


def test_a_failed_append_is_reported_and_not_repeated(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    stage.hooks.before_append = once(failing(StorageError("no disk")))
    with pytest.raises(StorageError, match="no disk"):
        upsert(instance, "a", [1])
    assert read(instance) == []


def test_all_records_of_a_write_in_one_log_are_one_append(stage: Stage) -> None:
    instance = stage.open(elanus__log__maxRecordBytes=100)
    make(instance, shards=3)
    sizes: list[int] = []
    stage.hooks.after_append = lambda headers: sizes.append(len(headers))
    insert(instance, "a", list(range(100)))
    assert len(sizes) == 1
    assert sizes[0] > 10
    assert count(stage.reopen()) == 100
