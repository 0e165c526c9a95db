"""The object store port: large immutable objects under unique names."""

from elanus.storage.objects.port import LocalFile, ObjectInfo, ObjectStore

__all__ = ["LocalFile", "ObjectInfo", "ObjectStore"]
