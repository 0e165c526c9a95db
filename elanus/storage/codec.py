"""Nouns as stored bytes: JSON with a format version around them."""

from typing import TypeVar

import msgspec

from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.nouns import Noun

FORMAT = 1

N = TypeVar("N", bound=Noun)


class _Envelope(msgspec.Struct):
    format: int
    body: msgspec.Raw


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)


def encode(noun: Noun) -> bytes:
    return b'{"format":%d,"body":%b}' % (FORMAT, _encoder.encode(noun))


def decode(data: bytes, kind: type[N], where: str) -> N:
    """`where` names the key or object in errors. Raises NewerFormatError or CorruptError."""
    try:
        envelope = _envelope.decode(data)
        if envelope.format > FORMAT:
            raise NewerFormatError(
                f"{where} has format {envelope.format}; this elanus reads up to {FORMAT}: upgrade elanus"
            )
        return msgspec.json.decode(envelope.body, type=kind)
    except msgspec.DecodeError as error:
        raise CorruptError(f"{where} cannot be read as {kind.__name__}: {error}") from error
