"""`like` and regular expressions over Arrow strings."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from elanus.engine.filter_truth import Bools

_SPECIAL = frozenset("\\.+*?()|[]{}^$")


def like(strings: pa.Array, pattern: str) -> Bools:
    """(n,) bool: the whole value matches; False where the string is null.

    `_` is one character (not byte), `%` any run, line breaks included.
    """
    parts = list(_parts(pattern))
    literals = [text for text, wild in parts if not wild]
    shape = "".join(text if wild else "x" for text, wild in parts)
    text = literals[0] if literals else ""
    match shape:
        case "" | "x":
            return flags(pc.equal(strings, pa.scalar(text, strings.type)))
        case "%":
            return flags(pc.is_valid(strings))
        case "x%":
            return flags(pc.starts_with(strings, text))
        case "%x":
            return flags(pc.ends_with(strings, text))
        case "%x%":
            return flags(pc.match_substring(strings, text))
    return search(strings, _regular_expression(parts))


def prefix_of(pattern: str) -> str | None:
    """The literal text of a pattern that is `text%`; None for others."""
    match list(_parts(pattern)):
        case [(text, False), ("%", True)]:
            return text
    return None


def search(strings: pa.Array, pattern: str) -> Bools:
    """(n,) bool: the RE2 expression is found anywhere in the value; False where the string is null."""
    return flags(pc.match_substring_regex(strings, pattern))


def flags(array: pa.Array) -> Bools:
    """A bool array as NumPy, null as False."""
    if array.null_count:
        array = array.fill_null(False)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _parts(pattern: str) -> Iterator[tuple[str, bool]]:
    """Literal texts and wildcards; a run of % is one %."""
    literal = ""
    characters = iter(pattern)
    percent = False
    for character in characters:
        if character in "%_":
            if literal:
                yield literal, False
                literal = ""
            if character == "_" or not percent:
                yield character, True
            percent = character == "%"
            continue
        percent = False
        literal += next(characters, "\\") if character == "\\" else character
    if literal:
        yield literal, False


def _regular_expression(parts: list[tuple[str, bool]]) -> str:
    out = [r"(?s)\A"]
    for text, wild in parts:
        if wild:
            out.append(".*" if text == "%" else ".")
        else:
            out += ["\\" + c if c in _SPECIAL else c for c in text]
    return "".join([*out, r"\z"])
