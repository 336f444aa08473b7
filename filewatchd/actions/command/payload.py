"""What a command reads on its standard input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from filewatchd.actions.base import JobContext
from filewatchd.model import Change
from filewatchd.notation import path_fields


def encode(form: str, job: JobContext, changes: Sequence[Change]) -> bytes | None:
    """The changes as ``json`` (one document and a newline) or ``nul`` (a NUL after each path); None for ``none``."""
    if form == "nul":
        return b"".join(os.fsencode(change.path) + b"\0" for change in changes)
    if form == "json":
        return msgspec.json.encode(document(job, changes)) + b"\n"
    return None


def document(job: JobContext, changes: Sequence[Change]) -> dict[str, Any]:
    """A job as JSON shows it."""
    return {
        "rule": job.rule,
        "job": job.id,
        "attempt": job.attempt,
        "trigger": job.trigger.value,
        "changes": [describe(change) for change in changes],
    }


def describe(change: Change) -> dict[str, str]:
    """A change as JSON shows it; paths that there are."""
    shown = {"kind": change.kind.value}
    for name in ("path", "root", "old_path", "original_path"):
        value = getattr(change, name)
        if value is not None:
            shown |= path_fields(name, value)
    return shown
