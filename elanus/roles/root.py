"""The root coordinator: names, schemas, ids, DDL."""

from typing import Protocol

from elanus.model.nouns import Collection, Database, Partition
from elanus.model.schema import Field, Schema
from elanus.model.types import ConsistencyLevel


class RootCoordinator(Protocol):
    """Every method returns when all live proxies follow the change (rule 13)."""

    def create_database(self, name: str, properties: dict[str, str]) -> Database: ...
    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> Database: ...
    def drop_database(self, name: str) -> None: ...

    def create_collection(
        self,
        database: str,
        name: str,
        schema: Schema,
        shards: int,
        partitions: list[str],
        consistency_level: ConsistencyLevel,
        properties: dict[str, str],
    ) -> Collection:
        """The existing collection where it is the same in every respect (as Milvus does), else an error."""

    def drop_collection(self, database: str, name: str) -> None: ...
    def rename_collection(self, database: str, name: str, new_database: str, new_name: str) -> Collection: ...

    def alter_collection(
        self, collection_id: int, properties: dict[str, str], delete_keys: list[str]
    ) -> Collection:
        """Properties that `model.properties` has judged."""

    def alter_field(
        self, collection_id: int, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> Collection: ...

    def add_field(self, collection_id: int, field: Field) -> Collection:
        """The field gets its id here. Rows that were written before show its default, or null."""

    def truncate_collection(self, collection_id: int) -> None:
        """Hides every row that was acknowledged before the call."""

    def create_alias(self, database: str, collection: str, alias: str) -> None:
        """Nothing where it is an alias of the collection already."""

    def alter_alias(self, database: str, collection: str, alias: str) -> None: ...
    def drop_alias(self, database: str, alias: str) -> None: ...
    def create_partition(self, collection_id: int, name: str) -> Partition: ...
    def drop_partition(self, collection_id: int, name: str) -> None: ...
