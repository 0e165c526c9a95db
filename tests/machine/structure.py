"""Collections that change: names, fields, properties, partitions, indexes, what is loaded."""

from collections.abc import Collection

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from pymilvus import MilvusException

from tests.machine.history import ALIAS, DEFAULT, NAMES, PARTITIONS, History, step, vector_names
from tests.machine.samples import ADDED, SCALAR_INDEXES


class Structure(History):
    # names

    @step()
    def give_or_drop_alias(self) -> None:
        if self.alias:
            self.client.drop_alias(ALIAS)
        else:
            self.client.create_alias(self.own_name, ALIAS)
        self.alias = not self.alias
        self.check_everything()

    @step()
    def rename(self) -> None:
        [new] = set(NAMES) - {self.own_name}
        self.client.rename_collection(self.own_name, new)
        assert not self.client.has_collection(self.own_name)
        self.own_name = new
        self.check_everything()

    # fields and properties

    @step(name=st.sampled_from(sorted(ADDED)))
    def add_field(self, name: str) -> None:
        if name in self.added:
            with pytest.raises(MilvusException, match="already"):
                self.client.add_collection_field(self.name, name, ADDED[name][0], **ADDED[name][1])
            return
        kind, options, default = ADDED[name]
        self.client.add_collection_field(self.name, name, kind, **options)
        self.added.add(name)
        self.reference.add_field(name, default)
        self.check_everything()

    @step(length=st.integers(16, 40))
    def alter_properties(self, length: int) -> None:
        self.client.alter_collection_properties(self.name, {"note": str(length)})
        fields = self.client.describe_collection(self.name)["fields"]
        [text] = [f for f in fields if f["name"] == "text"]
        if length < text["params"]["max_length"]:
            with pytest.raises(MilvusException, match="only grow"):
                self.client.alter_collection_field(self.name, "text", {"max_length": length})
        else:
            self.client.alter_collection_field(self.name, "text", {"max_length": length})
        if self.loaded is None:
            self.client.alter_collection_properties(self.name, {"mmap.enabled": str(length % 2 == 0)})
        self.check_everything()

    # partitions

    @precondition(lambda self: not self.shape.tenants)
    @step(name=st.sampled_from(PARTITIONS))
    def create_partition(self, name: str) -> None:
        self.make_partition(name)

    @precondition(lambda self: not self.shape.tenants)
    @step(name=st.sampled_from(PARTITIONS))
    def drop_partition(self, name: str) -> None:
        if self.loaded is not None and name in self.loaded:
            with pytest.raises(MilvusException, match="release"):
                self.client.drop_partition(self.name, name)
            self.release_names([name])
        self.client.drop_partition(self.name, name)
        label = self.labels.pop(name, None)
        if label is not None:
            self.reference.drop_partition(label)

    @step(names=st.sets(st.sampled_from((DEFAULT, *PARTITIONS))))
    def load(self, names: Collection[str]) -> None:
        self.load_names(names)
        self.check_everything()

    def load_names(self, names: Collection[str]) -> None:
        there = [] if self.shape.tenants else sorted(n for n in names if n in self.labels)
        if there:
            self.client.load_partitions(self.name, there)
            if not self.whole or self.loaded is None:
                self.loaded, self.whole = {*(self.loaded or ()), *there}, False
        else:
            self.client.load_collection(self.name)
            self.loaded, self.whole = set(self.labels), True

    @step(names=st.sets(st.sampled_from((DEFAULT, *PARTITIONS))))
    def release(self, names: Collection[str]) -> None:
        self.release_names(names)

    def release_names(self, names: Collection[str]) -> None:
        there = [] if self.shape.tenants else sorted(n for n in names if n in self.labels)
        if not there:
            self.client.release_collection(self.name)
            self.loaded, self.whole = None, False
            return
        self.client.release_partitions(self.name, there)
        if self.loaded is not None:
            self.loaded, self.whole = (self.loaded - set(there)) or None, False

    # indexes

    @step(names=st.lists(st.sampled_from(sorted(SCALAR_INDEXES)), min_size=1, max_size=4, unique=True))
    def toggle_scalar_indexes(self, names: list[str]) -> None:
        """On a loaded collection as on another."""
        for name in names:
            if name in self.scalar_indexes:
                self.client.drop_index(self.name, name)
            else:
                field, kind, params = SCALAR_INDEXES[name]
                index = self.client.prepare_index_params()
                index.add_index(field, index_type=kind, index_name=name, params=params)
                self.client.create_index(self.name, index, sync=False)
        self.scalar_indexes ^= set(names)
        self.check_everything()

    @step(field=vector_names, number=st.integers(0, 3), reload=st.booleans())
    def change_vector_index(self, field: str, number: int, reload: bool) -> None:
        if self.loaded is not None:
            with pytest.raises(MilvusException, match="release"):
                self.client.drop_index(self.name, f"on_{field}")
            self.release_names([])
        self.client.drop_index(self.name, f"on_{field}")
        kinds = sorted(self.shape.kinds[field].indexes)
        self.indexes[field] = kinds[number % len(kinds)]
        self.make_vector_index(field)
        if reload:
            self.load_names([])
        self.check_everything()
