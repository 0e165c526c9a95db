"""Interface of the meta store. Keys are `str` (path-like), values `bytes`. Revisions grow by one per transaction."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    key: str
    value: bytes
    revision: int
    """The store's revision when the key was last written."""


class Compare(NamedTuple):
    """Holds when the key was last written at `revision`."""

    key: str
    revision: int


class Absent(NamedTuple):
    """Holds when the key does not exist."""

    key: str


class Event(NamedTuple):
    """A change seen by a watch; `value` is None where the key was deleted."""

    key: str
    value: bytes | None
    revision: int


class TxnResult(NamedTuple):
    succeeded: bool
    revision: int
    """The store's revision after the transaction (or at the time it failed)."""


class Lease(Protocol):
    """Keys put under a lease vanish when it ends. It is kept alive in the background until closed or lost."""

    @property
    def id(self) -> int: ...
    @property
    def alive(self) -> bool:
        """False as soon as this process can no longer be sure to hold it."""

    def revoke(self) -> None: ...


class Watch(Protocol):
    """Events of one prefix, in revision order, each transaction's together."""

    def __iter__(self) -> Iterator[Sequence[Event]]: ...
    def close(self) -> None: ...


class MetaStore(Protocol):
    """Linearizable. Raises the errors of `model.errors`: a txn may raise AmbiguousError."""

    def get(self, key: str) -> Item | None: ...

    def range(self, prefix: str) -> tuple[list[Item], int]:
        """All items below `prefix` in key order, and the store's revision at that moment."""

    def txn(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
        lease: Lease | None = None,
    ) -> TxnResult:
        """All of `puts` and `deletes` if every compare holds, else nothing. Puts are bound to `lease`."""

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """Changes below `prefix` with a revision >= `from_revision`. Raises CorruptError when compacted away."""

    def lease(self, ttl_seconds: float) -> Lease: ...

    def close(self) -> None: ...
