"""Errors of the domain. Each carries the protocol's code; one place in `access` turns them into answers."""

from elanus.model.codes import Code, facts


class ElanusError(Exception):
    """An error with the protocol's code and a message for the person who made the call.

    The message says what was wrong, with what value, and what would be right.
    """

    code: Code = Code.SERVICE_INTERNAL

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code

    @property
    def retriable(self) -> bool:
        return facts(self.code).retriable


class InvalidParameter(ElanusError):
    """A value the caller gave cannot be right."""

    code = Code.PARAMETER_INVALID


class MissingParameter(ElanusError):
    code = Code.PARAMETER_MISSING


class TooLarge(ElanusError):
    code = Code.PARAMETER_TOO_LARGE


class InvalidExpression(ElanusError):
    """A filter that cannot be parsed or typed. `position` is the 0-based offset in `text`, or None."""

    code = Code.QUERY_PLAN

    def __init__(self, message: str, text: str, position: int | None, code: Code | None = None) -> None:
        super().__init__(message, code)
        self.text = text
        self.position = position


class CollectionNotFound(ElanusError):
    code = Code.COLLECTION_NOT_FOUND


class CollectionNotLoaded(ElanusError):
    code = Code.COLLECTION_NOT_LOADED


class PartitionNotFound(ElanusError):
    code = Code.PARTITION_NOT_FOUND


class PartitionNotLoaded(ElanusError):
    code = Code.PARTITION_NOT_LOADED


class IndexNotFound(ElanusError):
    code = Code.INDEX_NOT_FOUND


class DatabaseNotFound(ElanusError):
    code = Code.DATABASE_NOT_FOUND


class FieldNotFound(ElanusError):
    code = Code.FIELD_NOT_FOUND


class Unimplemented(ElanusError):
    """A call or feature that is not built; the message names it."""

    code = Code.SERVICE_UNIMPLEMENTED


class NotReady(ElanusError):
    """The service is starting, stopping or waits for a dependency; retry."""

    code = Code.SERVICE_NOT_READY


class ViewGone(NotReady):
    """A node no longer has the view that a read pinned: the whole read starts again on the new one."""


class Unavailable(ElanusError):
    code = Code.SERVICE_UNAVAILABLE


class DeadlineExceeded(ElanusError):
    """The caller's time is over."""

    code = Code.TIMEOUT


# Storage ports -------------------------------------------------------------------------------------------


class StorageError(ElanusError):
    """A storage port failed. The subclasses say what the caller may do."""

    code = Code.STORAGE


class RetriableStorageError(StorageError):
    """It did not happen; the same call may succeed later."""

    code = Code.SERVICE_UNAVAILABLE


class ConflictError(StorageError):
    """A condition of the call does not hold (the object exists, the version moved)."""


class AmbiguousError(StorageError):
    """It may have happened or not; look before you repeat."""


class NotFoundError(StorageError):
    code = Code.IO_KEY_NOT_FOUND


class UnauthorisedError(StorageError):
    code = Code.IO_PERMISSION_DENIED


class CorruptError(StorageError):
    """Stored bytes are not what was written; says which file and offset."""

    code = Code.DATA_INTEGRITY


class CompactedError(CorruptError):
    """The changes asked for are no longer kept: read the whole range again and watch from there."""


class DiskFullError(StorageError):
    code = Code.SERVICE_DISK_LIMIT_EXCEEDED


class NewerFormatError(StorageError):
    """Written by a newer elanus; says which version is needed."""

    code = Code.DATA_INTEGRITY


class DirectoryInUseError(StorageError):
    """Another process has the data directory open; says which."""

    code = Code.SERVICE_UNAVAILABLE
