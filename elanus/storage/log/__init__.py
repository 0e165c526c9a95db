"""The log port: a few durable, ordered logs, each carrying many channels."""

from elanus.storage.log.port import Appended, Entry, LogBroker, Subscription

__all__ = ["Appended", "Entry", "LogBroker", "Subscription"]
