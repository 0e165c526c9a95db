"""Rule 6: the growing owner keeps the rows of all partitions and filters when it reads."""

from tests.rules.stage import Stage, flush, insert, make, read


def test_a_partition_that_is_loaded_later_has_the_rows_that_came_before(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    proxy = instance.proxy
    for name in ("p", "q"):
        proxy.create_partition("", "a", name)
    proxy.load("", "a", ["p"], 1, [], False)
    insert(instance, "a", [1], partition="p")
    insert(instance, "a", [2], partition="q")
    assert read(instance) == [(1, 0)]
    proxy.load("", "a", ["q"], 1, [], False)
    assert read(instance) == [(1, 0), (2, 0)]
    flush(instance)
    proxy.release("", "a", ["p"])
    assert read(instance) == [(2, 0)]
