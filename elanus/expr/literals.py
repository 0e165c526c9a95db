"""What literals mean: numbers and the escapes of strings."""

import re

INT64_MAX = (1 << 63) - 1
INT64_MIN = -(1 << 63)

_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_SIMPLE = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "\\": b"\\",
    "'": b"'",
    '"': b'"',
    "?": b"?",
}
_PATTERN_ESCAPE = re.compile(r"\\([\\'\"])")


def integer(text: str) -> int:
    """Decimal, 0x, 0b or octal with a leading 0. Raises ValueError."""
    if len(text) > 1 and text[0] == "0" and text[1] not in "xXbB":
        return int(text, 8)
    return int(text, 0)


def floating(text: str) -> float:
    """Decimal or hexadecimal. Raises ValueError or OverflowError."""
    return float.fromhex(text) if "x" in text or "X" in text else float(text)


def unescape(body: str, lenient: bool = False) -> str:
    """The text of a string literal. \\x and octal escapes are bytes of UTF-8, as in Go.

    `lenient` keeps an unknown escape as it stands (patterns of `like`). Raises ValueError otherwise.
    """
    if "\\" not in body:
        return body
    out = bytearray()
    position = 0
    for match in _ESCAPE.finditer(body):
        out += body[position : match.start()].encode()
        position = match.end()
        out += _escaped(match.group(1), lenient)
    out += body[position:].encode()
    return out.decode()


def _escaped(code: str, lenient: bool) -> bytes:
    if code in _SIMPLE:
        return _SIMPLE[code]
    if code[0] in "01234567":
        value = int(code, 8)
        if value > 255:
            raise ValueError(f"the octal escape \\{code} is above \\377")
        return bytes([value])
    if len(code) > 1 and code[0] == "x":
        return bytes([int(code[1:], 16)])
    if len(code) > 1:
        value = int(code[1:], 16)
        if value > 0x10FFFF or 0xD800 <= value < 0xE000:
            raise ValueError(f"\\{code} is not a character")
        return chr(value).encode()
    if lenient:
        return b"\\" + code.encode()
    raise ValueError(f"\\{code} is not an escape; write \\\\ for a backslash, or r'...' for a raw string")


def unescape_pattern(body: str) -> str:
    """The regular expression in a literal: only quotes and the double backslash are unescaped."""
    return _PATTERN_ESCAPE.sub(r"\1", body)
