"""What a command reads on its standard input."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from filewatchd.actions.base import JobContext
from filewatchd.model import Change, Entry, Notice
from filewatchd.notation import fit_text, path_fields


def encode(form: str, job: JobContext, changes: Sequence[Change]) -> bytes | None:
    """The changes as ``json`` (one document and a newline) or ``nul`` (a NUL after each path); None for ``none``."""
    if form == "nul":
        return b"".join(os.fsencode(change.path) + b"\0" for change in changes)
    if form == "json":
        return msgspec.json.encode(document(job, changes)) + b"\n"
    return None


def document(job: JobContext, changes: Sequence[Change]) -> dict[str, Any]:
    """A job as JSON shows it: with its changes, or with the notice that it tells."""
    head = {"rule": job.rule, "job": job.id, "attempt": job.attempt, "trigger": job.trigger.value}
    if job.notice is not None:
        return head | told(job.notice)
    return head | {"changes": [describe(change) for change in changes]}


def told(notice: Notice) -> dict[str, Any]:
    """A notice as JSON shows it."""
    return {
        "host": socket.gethostname(),
        "event": notice.event.value,
        "message": fit_text(notice.message),
        "test": notice.test,
        "entries": [entry_shown(entry) for entry in notice.entries],
        "more": notice.more,
    }


def entry_shown(entry: Entry) -> dict[str, Any]:
    """One thing of a notice as JSON shows it; a path and a job that there are."""
    shown: dict[str, Any] = {"key": fit_text(entry.key), "message": fit_text(entry.message)}
    if entry.path is not None:
        shown |= path_fields("path", entry.path)
    shown |= {"first": time_shown(entry.first_ns), "last": time_shown(entry.last_ns), "times": entry.times}
    return shown | {"job": entry.job} if entry.job else shown


def time_shown(when_ns: int) -> str:
    """A time as JSON shows it, RFC 3339."""
    return datetime.fromtimestamp(when_ns // 1000 / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def describe(change: Change) -> dict[str, str]:
    """A change as JSON shows it; paths that there are."""
    shown = {"kind": change.kind.value}
    for name in ("path", "root", "old_path", "original_path"):
        value = getattr(change, name)
        if value is not None:
            shown |= path_fields(name, value)
    return shown
