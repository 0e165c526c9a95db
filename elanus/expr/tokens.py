"""Text to tokens. Lexical facts: word operators and booleans in lower or upper case, C-like literals."""

import re
from typing import NamedTuple

from elanus.model.errors import InvalidExpression

INT = "int"
INTS = "ints"
"""A long list of plain integers, taken as one token for speed."""
FLOAT = "float"
STRING = "string"
NAME = "name"
BOOL = "bool"
OP = "op"
END = "end"

_ESCAPED_LETTER = r"\\u[0-9a-fA-F]{4}"
_SCANNER = re.compile(
    rf"""
    (?P<blank>[ \t\r\n]+)
  | (?P<string>(?:u8|[uULrR])?(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|'(?:[^'\\\r\n]|\\[^\r\n])*'))
  | (?P<name>\$meta\b|(?:[^\W\d]|{_ESCAPED_LETTER})(?:\w|{_ESCAPED_LETTER})*)
  | (?P<float>0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?\d+
            |\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
  | (?P<int>0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)
  | (?P<op>\*\*|==|!=|=~|!~|<=|>=|<<|>>|&&|\|\||[-+*/%<>=!~&|^()\[\]{{}},$])
    """,
    re.VERBOSE,
)
_NULL_TEST = re.compile(r"is null\b|is not null\b|IS NULL\b|IS NOT NULL\b")
_INTEGERS = re.compile(r"\[\s*(-?(?:0|[1-9][0-9]{0,17})(?:\s*,\s*-?(?:0|[1-9][0-9]{0,17})){7,})\s*,?\s*\]")
_WORDS = {w: w for w in ("and", "or", "not", "in", "like", "exists")}
_WORDS |= {w.upper(): w for w in _WORDS}
_SPELLINGS = {"&&": "and", "||": "or", "!": "not"}
_BOOLEANS = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_LETTERS = re.compile(_ESCAPED_LETTER)


class Tokens(NamedTuple):
    """Parallel lists, the END token last. `texts` has an operator's canonical spelling: and, or, not."""

    kinds: list[str]
    texts: list[str]
    starts: list[int]
    ends: list[int]


def tokenize(text: str) -> Tokens:
    """Raises InvalidExpression at the first character that starts no token."""
    kinds: list[str] = []
    texts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position, length = 0, len(text)
    match_at = _SCANNER.match
    while position < length:
        match = match_at(text, position)
        if match is None:
            raise _bad_character(text, position)
        kind, end = match.lastgroup, match.end()
        if kind == "blank":
            position = end
            continue
        word = match.group()
        if kind == NAME:
            if word in ("is", "IS") and (test := _NULL_TEST.match(text, position)):
                kind, word, end = OP, test.group().lower(), test.end()
            elif word in _WORDS:
                kind, word = OP, _WORDS[word]
            elif word in _BOOLEANS:
                kind, word = BOOL, word.lower()
            elif "\\" in word:
                word = _LETTERS.sub(lambda m: chr(int(m.group()[2:], 16)), word)
        elif kind == OP:
            if word == "[" and (integers := _INTEGERS.match(text, position)):
                kind, word, end = INTS, integers.group(1), integers.end()
            word = _SPELLINGS.get(word, word)
        elif kind != STRING and end < length and (text[end].isalnum() or text[end] in "_."):
            raise _bad_number(text, position, end)
        kinds.append(kind or END)
        texts.append(word)
        starts.append(position)
        ends.append(end)
        position = end
    kinds.append(END)
    texts.append("")
    starts.append(length)
    ends.append(length)
    return Tokens(kinds, texts, starts, ends)


def _bad_character(text: str, position: int) -> InvalidExpression:
    character = text[position]
    if character in "\"'":
        return InvalidExpression(
            f"the string that starts at position {position} has no closing {character} on its line",
            text,
            position,
        )
    return InvalidExpression(
        f"unexpected character {character!r} at position {position}; expected a name, a value or an operator",
        text,
        position,
    )


def _bad_number(text: str, start: int, end: int) -> InvalidExpression:
    while end < len(text) and (text[end].isalnum() or text[end] in "_."):
        end += 1
    return InvalidExpression(
        f"{text[start:end]!r} at position {start} is not a number; expected a decimal, octal, 0x or 0b"
        " integer, or a float such as 1.5e3",
        text,
        start,
    )
