"""Repeats what is safe to repeat: the one place where storage calls are retried."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from elanus.model.errors import RetriableStorageError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """All in seconds. The waiting time is random, up to a bound that doubles from `first` to `longest`."""

    deadline: float = 30.0
    first: float = 0.05
    longest: float = 2.0


def retry(
    call: Callable[[], Result], policy: RetryPolicy | None = None, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Calls until it succeeds or the deadline would be passed; then raises the last RetriableStorageError.

    Every other error is raised at once, AmbiguousError above all: look before you repeat. Never wrap
    `LogBroker.append`: a repeated append is a second record.
    """
    policy = policy or RetryPolicy()
    retrying = Retrying(
        retry=retry_if_exception_type(RetriableStorageError),
        wait=wait_random_exponential(multiplier=policy.first, max=policy.longest),
        stop=stop_before_delay(policy.deadline),
        sleep=sleep,
        before_sleep=_log,
        reraise=True,
    )
    return retrying(call)


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("attempt %d failed, will be repeated: %s", state.attempt_number, error)
