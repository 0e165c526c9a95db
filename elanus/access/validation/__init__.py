"""What a client may ask for: names, schemas, rows, searches. Everything here raises `model.errors`."""

from elanus.access.validation.names import check_name
from elanus.access.validation.rows import check_rows
from elanus.access.validation.schemas import check_added, check_collection, check_description, check_sizes
from elanus.access.validation.searches import check_output, check_query, check_search, check_vectors

__all__ = [
    "check_added",
    "check_collection",
    "check_description",
    "check_name",
    "check_output",
    "check_query",
    "check_rows",
    "check_search",
    "check_sizes",
    "check_vectors",
]
