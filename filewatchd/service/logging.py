"""What the daemon says: lines for people, JSON lines, the journal, and rotating files with the errors apart.

Records carry `rule`, `job`, `path`, `kind` and `event` as extra fields; the text formats show what a reader needs
of them, JSON has them all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import TextIO

from filewatchd.config.schema import LogFiles, Logging
from filewatchd.errors import FatalError
from filewatchd.extras import lacks
from filewatchd.notation import one_line
from filewatchd.service.journald import JournalHandler, connected

_FIELDS = ("event", "rule", "job", "kind", "path", "action", "outcome")
_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}
_EVENT_COLOURS = {"change": "\033[36m", "job": "\033[2m", "output": "\033[2m", "outcome": "\033[32m"}


class TextFormatter(logging.Formatter):
    """``09:30:01.123  rule  message``; colours on a terminal, full dates in files."""

    def __init__(self, *, colour: bool, date: bool) -> None:
        super().__init__()
        self._colour = colour
        self._date = date

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).astimezone()
        when = f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3] if self._date else f"{moment:%H:%M:%S.%f}"[:-3]
        rule = getattr(record, "rule", None)
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        line = f"{when}  {_mark(record)}{rule + ': ' if rule else ''}{level}{one_line(record.getMessage())}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        colour = _COLOURS.get(record.levelno) or _EVENT_COLOURS.get(getattr(record, "event", ""))
        return f"{colour}{line}\033[0m" if self._colour and colour else line


def _mark(record: logging.LogRecord) -> str:
    return {"change": "* ", "job": "> ", "output": "| ", "outcome": "= "}.get(getattr(record, "event", ""), "  ")


class MessageFormatter(logging.Formatter):
    """``rule: message``: the journal itself knows when it was, and how grave."""

    def format(self, record: logging.LogRecord) -> str:
        rule = getattr(record, "rule", None)
        line = f"{rule + ': ' if rule else ''}{one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, message, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        for field in _FIELDS:
            value = getattr(record, field, None)
            if value is not None:
                entry[field] = value
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=True)


def set_up(settings: Logging, stream: TextIO | None = None) -> None:
    """Send the daemon's log where the configuration says; replaces what was set up before.

    Raises:
        FatalError: a log file can't be opened.
    """
    logger = logging.getLogger("filewatchd")
    handlers = [*_console(settings, stream or sys.stderr), *_files(settings.files, settings.format)]
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        logger.addHandler(handler)
    logger.propagate = False
    set_level(settings.level)


def level() -> str:
    """The least that is logged now."""
    return logging.getLevelName(logging.getLogger("filewatchd").level).lower()


def set_level(name: str) -> None:
    """Log nothing less from now on."""
    logging.getLogger("filewatchd").setLevel(name.upper())


def _console(settings: Logging, stream: TextIO) -> list[logging.Handler]:
    if settings.console == "off":
        return []
    terminal = stream.isatty()
    kind: str = settings.console
    if kind == "auto":
        kind = "text" if terminal else _unattended(settings)
    if kind == "journal":
        journal = JournalHandler()
        journal.setFormatter(MessageFormatter())
        return [journal]
    handler = logging.StreamHandler(stream)
    colour = terminal and "NO_COLOR" not in os.environ
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter(colour=colour, date=not terminal))
    return [handler]


def _unattended(settings: Logging) -> str:
    """Where the lines would end up in the journal, they go there with their fields, if that can be done."""
    return "journal" if connected() and not lacks("systemd") else settings.format


def _files(files: LogFiles | None, kind: str) -> list[logging.Handler]:
    if files is None:
        return []
    handlers: list[logging.Handler] = [_file(files.path, files, kind)]
    if files.errors is not None:
        errors = _file(files.errors, files, kind)
        errors.setLevel(logging.WARNING)
        handlers.append(errors)
    return handlers


def _file(path: str, files: LogFiles, kind: str) -> logging.Handler:
    try:
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        handler = _PrivateFile(path, maxBytes=files.rotate.size, backupCount=files.rotate.keep.count, encoding="utf-8",
                               errors="backslashreplace")  # fmt: skip
    except OSError as error:
        raise FatalError(f"the log file {path} can't be opened: {error.strerror}; mend logging.files") from None
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter(colour=False, date=True))
    return handler


class _PrivateFile(RotatingFileHandler):
    """A rotating file that only the daemon's group may read, and that never follows a link."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.baseFilename, flags, 0o640), "a", encoding="utf-8", errors="backslashreplace")
