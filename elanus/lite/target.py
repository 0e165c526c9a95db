"""The address by which pymilvus names a data directory: `unix:/path/of/it#elanus`.

pymilvus lets an address through as it is only if it starts with `unix:`; the fragment makes it ours.
"""

import re
from pathlib import Path
from urllib.parse import quote, unquote

_TARGET = re.compile(r"unix:(?P<path>/[^#]*)#elanus(/\d+)?")


def target_of(path: Path, connection: int | None = None) -> str:
    """The address of a resolved directory. pymilvus shares a connection among clients of one address; a
    number makes it another address of the same directory."""
    quoted = quote(str(path), safe="/")
    # pymilvus 2.6 takes any address with this word in it for Zilliz' service of that name.
    if "global-cluster" in quoted.lower():
        quoted = quoted.replace("-", "%2D")
    return f"unix:{quoted}#elanus" + ("" if connection is None else f"/{connection}")


def path_of(target: str) -> Path | None:
    """The directory that an address names; None if it is not one of ours."""
    match = _TARGET.fullmatch(target)
    return None if match is None else Path(unquote(match["path"]))
