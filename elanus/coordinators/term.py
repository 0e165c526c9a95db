"""Election and fencing, the same for all coordinators."""

import threading
from collections.abc import Mapping, Sequence

from elanus.model.errors import NotReady
from elanus.storage import keys
from elanus.storage.meta import Absent, Compare, Lease, MetaStore


class Term:
    """The time during which this process is the active coordinator of a role."""

    def __init__(self, meta: MetaStore, role: str, lease: Lease, revision: int) -> None:
        self._meta = meta
        self._role = role
        self._lease = lease
        self._guard = Compare(keys.coordinator(role), revision)

    @classmethod
    def begin(
        cls, meta: MetaStore, role: str, node_id: int, *, ttl_seconds: float, stop: threading.Event
    ) -> "Term":
        """Waits until no other process holds the role. Raises NotReady when `stop` is set meanwhile."""
        lease = meta.lease(ttl_seconds)
        key = keys.coordinator(role)
        while not stop.is_set():
            result = meta.txn([Absent(key)], {key: str(node_id).encode()}, lease=lease)
            if result.succeeded:
                return cls(meta, role, lease, result.revision)
            stop.wait(ttl_seconds / 4)
        lease.revoke()
        raise NotReady(f"{role} is stopping")

    @property
    def active(self) -> bool:
        return self._lease.alive

    def txn(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
    ) -> int | None:
        """The revision, or None when a compare failed. Raises NotReady when the term is over."""
        result = self._meta.txn([*compares, self._guard], puts, deletes)
        if result.succeeded:
            return result.revision
        item = self._meta.get(self._guard.key)
        if item is None or item.revision != self._guard.revision:
            raise NotReady(f"this {self._role} coordinator has been succeeded by another; ask again")
        return None

    def end(self) -> None:
        self._lease.revoke()
