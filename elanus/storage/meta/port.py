"""Interface of the meta store. Keys are `str` (path-like), values `bytes`. Revisions grow by one
per transaction that changes something."""

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
    """Events of one prefix, in revision order, each transaction's together.

    Where the store is this process's own, events are in the watch before the transaction's caller has its
    result.
    """

    def poll(self, timeout_seconds: float) -> list[Event]:
        """Events of one or more whole transactions; waits at most `timeout_seconds` for the first.

        [] after a time-out and once closed. Raises CompactedError when the reader was too slow: range again.
        """

    def __iter__(self) -> Iterator[Sequence[Event]]:
        """What `poll` gives, waiting as long as it takes, until the watch is closed."""

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
        """All of `puts` and `deletes` if every compare holds, else nothing. Puts are bound to `lease`.

        Raises ConflictError when `lease` has ended, InvalidParameter when a key is both put and deleted.
        """

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """Changes below `prefix` from revision `from_revision` on. Raises CompactedError if they are gone."""

    def lease(self, ttl_seconds: float) -> Lease:
        """A lease that ends `ttl_seconds` after its process was last heard of."""

    def close(self) -> None: ...
