"""Rule 13 for truncate and for schemas that grow: cut off anywhere, finished with the same effect."""

from collections.abc import Sequence

import pyarrow as pa
import pytest

from elanus.access import requests as q
from elanus.model.nouns import TruncateIntent
from elanus.model.records import Kind
from elanus.model.schema import Field
from elanus.model.types import ConsistencyLevel, DataType
from elanus.runtime.standalone import Instance
from elanus.storage import codec, keys
from tests.rules.stage import (
    ID,
    SECONDS,
    Barrier,
    Crash,
    Stage,
    failing,
    flush,
    insert,
    make,
    once,
    read,
    reload,
    served_at_floor,
    upsert,
)

ADDED = Field(id=0, name="n", type=DataType.INT64, nullable=True)
DEFAULTED = Field(id=0, name="d", type=DataType.VARCHAR, max_length=8, nullable=True, default="old")


def crash_after(stage: Stage, steps: int) -> None:
    """Every transaction and append is a step; the process dies before step number `steps` + 1."""
    taken: list[int] = []

    def step(_: Sequence[object]) -> None:
        if len(taken) >= steps:
            raise Crash
        taken.append(1)

    stage.hooks.before_txn = stage.hooks.before_append = step


def recover(stage: Stage) -> Instance:
    def nothing(_: Sequence[object]) -> None:
        pass

    stage.hooks.before_txn = stage.hooks.before_append = nothing
    return stage.reopen()


# Truncate


@pytest.mark.parametrize("step", range(6))
def test_a_truncate_that_was_cut_off_anywhere_hides_all_or_nothing_of_what_was_there(
    stage: Stage, step: int
) -> None:
    instance = stage.open()
    make(instance, shards=2)
    insert(instance, "a", [1, 2, 3, 4])
    flush(instance)
    served_at_floor(instance)
    insert(instance, "a", [5, 6, 7, 8])
    crash_after(stage, step)
    died = False
    try:
        instance.proxy.truncate_collection("", "a")
    except Crash:
        died = True
    assert died == (step < 4), "the intent, a record a channel, the end"
    instance = recover(stage)
    there = [] if step else [(k, 0) for k in range(1, 9)]
    assert read(instance) == there
    assert instance.meta.range(keys.TRUNCATES)[0] == []
    insert(instance, "a", [10])
    for again in (None, flush, reload):
        if again is not None:
            again(instance)
        assert read(instance) == [*there, (10, 0)]
        assert instance.proxy.row_count("", "a") == len(there) + 1


def test_a_replayed_truncate_spares_the_rows_that_came_after_the_first(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    insert(instance, "a", [1, 2])
    stage.hooks.before_txn = once(
        failing(Crash()),
        lambda touched: (
            all(k.startswith(keys.TRUNCATES) for k in touched)
            and bool([h for h in stage.hooks.appended if h.kind is Kind.TRUNCATE])
        ),
    )
    with pytest.raises(Crash):
        instance.proxy.truncate_collection("", "a")
    insert(instance, "a", [1], tag=7)
    upsert(instance, "a", [3], tag=8)
    instance = stage.reopen()
    reload(instance)
    assert read(instance) == [(1, 7), (3, 8)]
    truncates = [h for h in stage.hooks.appended if h.kind is Kind.TRUNCATE]
    assert len(truncates) == 2
    assert len({(h.as_of, h.intent) for h in truncates}) == 1


def test_a_truncate_keeps_its_as_of_before_the_first_record_goes_out(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    seen: list[TruncateIntent] = []

    def look(headers: Sequence[object]) -> None:
        for item in instance.meta.range(keys.TRUNCATES)[0]:
            seen.append(codec.decode(item.value, TruncateIntent, item.key))

    stage.hooks.before_append = look
    instance.proxy.truncate_collection("", "a")
    [header] = [h for h in stage.hooks.appended if h.kind is Kind.TRUNCATE]
    assert [i.as_of[header.channel] for i in seen] == [header.as_of]


def test_truncated_rows_do_not_count_with_those_that_are_sealed_later(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2, 3])
    instance.proxy.truncate_collection("", "a")
    assert instance.proxy.row_count("", "a") == 0
    insert(instance, "a", [4])
    flush(instance)
    assert instance.proxy.row_count("", "a") == instance.proxy.row_count("", "a", "_default") == 1
    assert read(instance) == [(4, 0)]


# Schemas


def values(instance: Instance, *names: str) -> list[tuple[object, ...]]:
    request = q.Query(
        database="",
        collection="a",
        expression="id > -100",
        output_fields=("id", *names),
        consistency_level=ConsistencyLevel.STRONG,
    )
    columns = instance.proxy.query(request).rows.columns
    return list(zip(*(columns.column(n).to_pylist() for n in ("id", *names)), strict=True))


def insert_with(instance: Instance, key: int, **more: object) -> None:
    """A row as a client with the newest schema sends it."""
    schema = instance.proxy.collection("", "a").schema
    columns = {str(ID): pa.array([key], pa.int64()), str(ID + 1): pa.array([0], pa.int64())}
    columns[str(ID + 2)] = pa.FixedSizeListArray.from_arrays(pa.array([0.0, 0.0], pa.float32()), 2)
    for name, value in more.items():
        field = schema.by_name[name]
        kind = pa.int64() if field.type is DataType.INT64 else pa.large_string()
        columns[field.key] = pa.array([value], kind)
    rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    instance.proxy.insert(q.Write(database="", collection="a", rows=rows))


@pytest.mark.parametrize("step", range(6))
def test_a_field_whose_addition_was_cut_off_anywhere_is_there_or_not(stage: Stage, step: int) -> None:
    instance = stage.open()
    make(instance, shards=2)
    insert(instance, "a", [1, 2])
    crash_after(stage, step)
    died = False
    try:
        instance.proxy.add_field("", "a", DEFAULTED)
    except Crash:
        died = True
    assert died == (step < 4), "the schema with its intent, a record a channel, the end"
    instance = recover(stage)
    assert instance.meta.range(keys.SCHEMA_CHANGES)[0] == []
    if step == 0:
        instance.proxy.add_field("", "a", DEFAULTED)
    assert values(instance, "d") == [(1, "old"), (2, "old")]
    insert_with(instance, 3, d="new")
    assert values(instance, "d") == [(1, "old"), (2, "old"), (3, "new")]
    announced = {h.channel for h in stage.hooks.appended if h.kind is Kind.SCHEMA_CHANGE}
    assert announced == {c.id for c in instance.proxy.collection("", "a").channels}


def test_rows_of_every_schema_are_read_alike_growing_sealed_and_after_a_restart(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    served_at_floor(instance)
    insert(instance, "a", [2])
    instance.proxy.add_field("", "a", ADDED)
    insert(instance, "a", [3])
    insert_with(instance, 4, n=44)
    instance.proxy.add_field("", "a", DEFAULTED)
    insert_with(instance, 5, n=55, d="new")
    insert_with(instance, 6, n=None, d=None)
    expected = [
        (1, None, "old"),
        (2, None, "old"),
        (3, None, "old"),
        (4, 44, "old"),
        (5, 55, "new"),
        (6, None, "old"),
    ]
    assert values(instance, "n", "d") == expected
    flush(instance)
    served_at_floor(instance)
    assert values(instance, "n", "d") == expected
    reload(instance)
    assert values(instance, "n", "d") == expected
    instance = stage.reopen()
    assert values(instance, "n", "d") == expected
    assert instance.proxy.collection("", "a").schema.version == 3


def test_a_write_that_began_under_the_old_schema_ends_before_the_new_one_is_confirmed(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = stage.do(insert, instance, "a", [1])
    writing.wait()
    adding = stage.do(instance.proxy.add_field, "", "a", ADDED)
    with pytest.raises(TimeoutError):
        adding.result(0.05)
    writing.let_go()
    write.result(SECONDS)
    adding.result(SECONDS)
    kinds = [(h.kind, h.schema_version) for h in stage.hooks.appended]
    assert kinds == [(Kind.INSERT, 1), (Kind.SCHEMA_CHANGE, 2)]
    assert values(instance, "n") == [(1, None)]


def test_rows_of_a_new_schema_that_come_before_its_record_are_kept_whole(stage: Stage) -> None:
    """The proxies may write with a schema before the coordinator has announced it in the log."""
    instance = stage.open()
    make(instance)
    announcing = Barrier()
    stage.hooks.before_append = once(announcing.hold, lambda headers: headers[0].kind is Kind.SCHEMA_CHANGE)
    adding = stage.do(instance.proxy.add_field, "", "a", ADDED)
    announcing.wait()
    insert_with(instance, 1, n=11)
    assert values(instance, "n") == [(1, 11)]
    announcing.let_go()
    adding.result(SECONDS)
    flush(instance)
    reload(instance)
    assert values(instance, "n") == [(1, 11)]


# Names


@pytest.mark.parametrize("step", range(2))
def test_a_rename_that_was_cut_off_has_happened_or_not(stage: Stage, step: int) -> None:
    instance = stage.open()
    made = make(instance)
    insert(instance, "a", [1])
    crash_after(stage, step)
    died = False
    try:
        instance.proxy.rename_collection("", "a", "", "b")
    except Crash:
        died = True
    assert died == (step < 1), "one transaction"
    instance = recover(stage)
    name = "b" if step else "a"
    assert [c.name for c in instance.proxy.collections("")] == [name]
    assert instance.proxy.collection("", name).id == made.id
    assert read(instance, name) == [(1, 0)]
