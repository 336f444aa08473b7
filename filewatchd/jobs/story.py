"""What a job says of itself in the log: its changes, that it runs, and how it went; a line each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from filewatchd.jobs.runner import Item, Record, counts
from filewatchd.model import Change, Kind, Verdict

log = logging.getLogger("filewatchd.jobs")

_SHOWN = 20  # changes and outcomes of a job that are told one by one
_GOOD = (Verdict.OK, Verdict.SKIPPED)


def log_start(rule: str, record: Record) -> None:
    """Tell the changes (of the first attempt) and the job."""
    if not log.isEnabledFor(logging.INFO):
        return
    extra = {"rule": rule, "job": record.id}
    changes = [item.change for item in record.items.values()]
    if record.attempt == 1:
        for change in changes[:_SHOWN]:
            more = {"event": "change", "path": change.path, "kind": change.kind.value}
            log.info("%s", phrase(change), extra={**extra, **more})
        if len(changes) > _SHOWN:
            log.info("... and %d more changes", len(changes) - _SHOWN, extra={**extra, "event": "change"})
    what = changes[0].path if len(changes) == 1 else f"{len(changes)} paths"
    tries = f", attempt {record.attempt}" if record.attempt > 1 else ""
    log.info("job %d: %s%s", record.id, what, tries, extra={**extra, "event": "job"})


def log_end(rule: str, record: Record, items: Sequence[Item], seconds: float) -> None:
    """Tell what went wrong, path by path, and the outcome."""
    extra = {"rule": rule, "job": record.id, "event": "outcome"}
    bad = [(item, item.outcome) for item in items if item.outcome is not None and item.outcome.verdict not in _GOOD]
    for item, outcome in bad[:_SHOWN]:
        path = item.change.path
        log.warning("%s: %s: %s", outcome.verdict.value, path, outcome.message, extra={**extra, "path": path})
    if log.isEnabledFor(logging.INFO):
        told = ", ".join(f"{number} {name}" for name, number in counts(items).items()) or "done"
        log.info("job %d: %s in %.3f s", record.id, told, seconds, extra=extra)


def phrase(change: Change) -> str:
    """A change in words."""
    if change.kind is Kind.MOVED:
        return f"moved {change.old_path} -> {change.path}"
    return f"{change.kind.value} {change.path}"
