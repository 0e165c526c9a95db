"""Errors of the domain as the protocol's `Status`."""

from typing import Any

from elanus.access.protocol import messages
from elanus.model.codes import Code, facts
from elanus.model.errors import ElanusError

# Any below: protobuf messages of the private pool have no static types.


def success() -> Any:
    """`extra_info` stays empty: clients read a cost out of it when it has anything in it."""
    return messages.Status()


def status_of(error: ElanusError) -> Any:
    known = facts(error.code)
    status = messages.Status(
        code=int(error.code),
        error_code=known.legacy,
        reason=error.message,
        detail=error.message,
        retriable=error.retriable,
    )
    if known.input_error:
        status.extra_info["is_input_error"] = "true"
    return status


def failure(answer: Any, error: ElanusError) -> Any:
    """An answer of class `answer` (a Status, or a message with a `status` field) that carries the error."""
    if answer.DESCRIPTOR.full_name == messages.Status.DESCRIPTOR.full_name:
        return status_of(error)
    return answer(status=status_of(error))


def unexpected(request_id: str) -> ElanusError:
    """What a client is told of an error nobody foresaw; the log has the rest under the request's id."""
    return ElanusError(
        f"an internal error stopped the call; the server's log has it under request {request_id}",
        Code.SERVICE_INTERNAL,
    )
