"""Logging to stderr: lines for people or JSON lines for programs, each with the id of its request."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from elanus.access import calls

Level = Literal["debug", "info", "warn", "error", "fatal"]
Format = Literal["text", "json"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_NAMES = {number: name for name, number in _LEVELS.items()}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id", "taskName"}
_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warn": "\x1b[33m",
    "error": "\x1b[31m",
    "fatal": "\x1b[1;31m",
}
_RESET = "\x1b[0m"


def configure(level: Level = "info", format: Format = "text", stream: TextIO | None = None) -> None:
    """Sends all logging of the process to `stream` (stderr); replaces what an earlier call set up."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if format == "json" else TextLines(colours=stream.isatty()))
    handler.addFilter(stamp_request)
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "of_elanus", False)]:
        root.removeHandler(old)
    handler.of_elanus = True  # type: ignore[attr-defined]  # tells ours from an application's handlers
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    # It tells which builds of its kernels it tried, one line each.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    logging.captureWarnings(True)


def stamp_request(record: logging.LogRecord) -> bool:
    call = calls.current()
    record.request_id = call.request_id if call else ""
    return True


class TextLines(logging.Formatter):
    """`2026-01-31 12:00:00.000 info  elanus.runtime: message key=value [request id]`, local time."""

    def __init__(self, colours: bool = False) -> None:
        super().__init__()
        self.colours = colours

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).isoformat(" ", "milliseconds")
        level = level_name(record)
        shown = f"{_COLOURS[level]}{level:<5}{_RESET}" if self.colours else f"{level:<5}"
        line = f"{when} {shown} {record.name}: {record.getMessage()}"
        line += "".join(f" {key}={value!r}" for key, value in extras(record).items())
        if of_request := getattr(record, "request_id", ""):
            line += f" [{of_request}]"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonLines(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, request_id, the extras, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": level_name(record),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if of_request := getattr(record, "request_id", ""):
            line["request_id"] = of_request
        line |= {key: value for key, value in extras(record).items() if key not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as `extra=`."""
    return {
        key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")
    }


def level_name(record: logging.LogRecord) -> str:
    """The nearest of our levels that is not above the record's."""
    return _NAMES[max((n for n in _NAMES if n <= record.levelno), default=logging.DEBUG)]
