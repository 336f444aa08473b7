"""The daemon's log in systemd's journal, with fields to ask for: `journalctl FILEWATCHD_RULE=nginx`.

systemd-python sends the entries (sd_journal_send(3)). Names may hold any bytes but NUL, so fields that aren't UTF-8
are sent as the bytes they are, which journald keeps.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys

from filewatchd.errors import FatalError
from filewatchd.extras import lacks

#: A record's own field -> the journal's, which holds the same word in capitals.
FIELDS = {name: f"FILEWATCHD_{name.upper()}" for name in ("event", "rule", "job", "path", "kind", "action", "outcome")}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def connected(stream: int = 2) -> bool:
    """Whether this descriptor leads to the journal: JOURNAL_STREAM names it by device and inode, systemd.exec(5)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class JournalHandler(logging.Handler):
    """Sends each record as one entry."""

    def __init__(self) -> None:
        """Raises FatalError if the extra is missing."""
        super().__init__()
        if lack := lacks("systemd"):
            raise FatalError(f"logging.console: journal can't work: {lack[0]}; {lack[1]}", exit_code=78)
        self._send = importlib.import_module("systemd.journal").sendv  # it has no types

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(*entry(record, self.format(record)))
        except Exception:  # noqa: BLE001 - as logging's own handlers do: a log that fails ends nobody
            self.handleError(record)


def entry(record: logging.LogRecord, message: str) -> list[bytes]:
    """A record as the fields of a journal entry, ``NAME=value``."""
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)),
        "SYSLOG_IDENTIFIER": os.path.basename(sys.argv[0]) or "filewatchd",
        "LOGGER": record.name,
    }
    for name, field in FIELDS.items():
        value = getattr(record, name, None)
        if value is not None:
            fields[field] = str(value)
    return [f"{name}=".encode() + os.fsencode(value) for name, value in fields.items()]
