"""Log lines: for people, for programs, with the request they belong to."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from elanus.access import calls
from elanus.runtime import logs

logger = logging.getLogger("elanus.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    yield io.StringIO()
    root.handlers = before[1]
    root.setLevel(before[0])
    logging.captureWarnings(False)


def test_a_text_line_has_level_logger_message_extras_and_request(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream)
    with calls.serving(calls.Call(method="Search", request_id="r-7", metadata={})):
        logger.warning("flushed %d rows", 5, extra={"channel": 3})
    assert stream.getvalue().rstrip().endswith("warn  elanus.test: flushed 5 rows channel=3 [r-7]")


def test_a_json_line_is_one_object_whatever_it_holds(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    with calls.serving(calls.Call(method="Search", request_id="r-8", metadata={})):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("failed\nbadly", extra={"path": object(), "level": "mine"})
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["message"] == "failed\nbadly"
    assert entry["level"] == "error"
    assert entry["request_id"] == "r-8"
    assert "ValueError: two\nlines" in entry["exception"]
    assert entry["time"].endswith("+00:00")


def test_outside_of_a_request_there_is_no_id(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    logger.info("started")
    assert "request_id" not in json.loads(stream.getvalue())


@pytest.mark.parametrize(
    ("level", "seen"), [("debug", 5), ("info", 4), ("warn", 3), ("error", 2), ("fatal", 1)]
)
def test_less_than_the_level_is_not_logged(stream: io.StringIO, level: logs.Level, seen: int) -> None:
    logs.configure(level, "text", stream)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(number, "x")
    assert len(stream.getvalue().splitlines()) == seen


def test_configuring_again_does_not_double_the_lines(stream: io.StringIO) -> None:
    logs.configure("info", "text", io.StringIO())
    logs.configure("info", "text", stream)
    logger.info("once")
    assert len(stream.getvalue().splitlines()) == 1
