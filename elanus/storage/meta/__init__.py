"""The meta store port: a small ordered key-value store with transactions, watches and leases."""

from elanus.storage.meta.port import Absent, Compare, Event, Item, Lease, MetaStore, Watch

__all__ = ["Absent", "Compare", "Event", "Item", "Lease", "MetaStore", "Watch"]
