"""Paths of objects: relative, with `/`, the same on every store."""

from elanus.model.errors import InvalidParameter

PATH_BYTES_LIMIT = 1024
PART_BYTES_LIMIT = 255


def check_path(path: str) -> str:
    """The path itself. Raises InvalidParameter unless it names an object on every kind of store."""
    parts = path.split("/")
    if path.startswith("/"):
        raise InvalidParameter(f"object path {path!r} is absolute; it must be relative")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidParameter(f"object path {path!r} has an empty part, '.' or '..'; write it without")
    if not path.isprintable():
        raise InvalidParameter(f"object path {path!r} has characters that cannot be printed")
    sizes = [len(part.encode(errors="surrogatepass")) for part in parts]
    if max(sizes) > PART_BYTES_LIMIT or sum(sizes) + len(sizes) - 1 > PATH_BYTES_LIMIT:
        raise InvalidParameter(
            f"object path {path[:64]!r}... is too long; at most {PART_BYTES_LIMIT} bytes a part, "
            f"{PATH_BYTES_LIMIT} in all"
        )
    return path


def check_prefix(prefix: str) -> str:
    """A folder without its trailing slash, '' for everything. Raises InvalidParameter."""
    prefix = prefix.removesuffix("/")
    return check_path(prefix) if prefix else ""


def check_range(path: str, start: int, length: int) -> None:
    if start < 0 or length < 0:
        raise InvalidParameter(
            f"range of {length} bytes from byte {start} of {path!r}; neither may be negative"
        )
