"""What the synchronous and the asyncio channel share: methods with one request and one answer, no streams."""

from collections.abc import Callable
from typing import Any, NoReturn, Self

import grpc

from elanus.lite.context import InProcessError
from elanus.lite.dispatch import kind_of

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class UnaryOnly:
    """A channel without streams that copies as itself."""

    def unary_stream(self, method: str, *_: object, **__: object) -> "Unserved":
        return Unserved(method)

    def stream_unary(self, method: str, *_: object, **__: object) -> "Unserved":
        return Unserved(method)

    def stream_stream(self, method: str, *_: object, **__: object) -> "Unserved":
        return Unserved(method)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # pymilvus' ORM copies its connection arguments, the channel among them


class UnaryMethod:
    """A method by its full name, how it is dispatched and how its messages are read and written."""

    def __init__(self, method: str, serialize: Serializer, deserialize: Deserializer) -> None:
        self._method = method
        self._kind = kind_of(method)
        self._serialize = serialize
        self._deserialize = deserialize


class Unserved:
    """A streaming method: stubs ask for one when they are made; calling it says that it is not there."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise InProcessError(
            grpc.StatusCode.UNIMPLEMENTED, f"{self._method} streams, and streams are not served in-process"
        )
