"""What a job says of itself in the log: its changes, that it runs, and how it went; a line each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from filewatchd.jobs.runner import Item, Record
from filewatchd.model import Change, Kind, Verdict

log = logging.getLogger("filewatchd.jobs")

_SHOWN = 20  # changes and outcomes of a job that are told one by one
_OF_MANY = 5  # changes told of a job with more: in a burst, lines about single files are no help
_WORST_FIRST = (Verdict.FAILED, Verdict.REJECTED, Verdict.CANCELLED, Verdict.OK, Verdict.SKIPPED)
_GOOD = frozenset({Verdict.OK, Verdict.SKIPPED})


class Start:
    """The lines about a job's start: made of what it started with, told once, and before anything else of it."""

    def __init__(self, rule: str, record: Record) -> None:
        self._changes = [item.change for item in record.items.values()]
        self._extra = {"rule": rule, "job": record.id}
        self._attempt = record.attempt
        self._told = not log.isEnabledFor(logging.INFO)

    def tell(self) -> None:
        """Tell the changes (of the first attempt) and the job."""
        if self._told:
            return
        self._told = True
        if self._attempt == 1:
            self._tell_changes()
        changes = self._changes
        what = changes[0].path if len(changes) == 1 else f"{len(changes)} paths"
        tries = f", attempt {self._attempt}" if self._attempt > 1 else ""
        log.info("job %d: %s%s", self._extra["job"], what, tries, extra={**self._extra, "event": "job"})

    def _tell_changes(self) -> None:
        count = len(self._changes)
        shown = count if count <= _SHOWN else _OF_MANY
        for change in self._changes[:shown]:
            more = {"event": "change", "path": change.path, "kind": change.kind.value}
            log.info("%s", phrase(change), extra={**self._extra, **more})
        if count > shown:
            log.info("... and %d more changes", count - shown, extra={**self._extra, "event": "change"})


def log_end(rule: str, record: Record, items: Sequence[Item], counted: Mapping[str, int], seconds: float) -> None:
    """Tell what went wrong, path by path, and the outcome."""
    extra = {"rule": rule, "job": record.id, "event": "outcome"}
    all_good = counted.keys() <= _GOOD
    bad = [] if all_good else [(i, i.outcome) for i in items if i.outcome and i.outcome.verdict not in _GOOD]
    for item, outcome in bad[:_SHOWN]:
        path = item.change.path
        verdict = outcome.verdict.value
        log.warning("%s: %s: %s", verdict, path, outcome.message, extra={**extra, "path": path, "outcome": verdict})
    alone = record.alone  # of a job over no path
    if alone is not None and alone.verdict not in _GOOD:
        verdict = alone.verdict.value
        log.warning("%s: %s", verdict, alone.message, extra={**extra, "outcome": verdict})
    if log.isEnabledFor(logging.INFO):
        told = ", ".join(f"{number} {name}" for name, number in counted.items()) or "done"
        extra["outcome"] = next((verdict for verdict in _WORST_FIRST if verdict in counted), "ok")
        if len(items) == 1:
            extra["path"] = items[0].change.path
        log.info("job %d: %s in %.3f s", record.id, told, seconds, extra=extra)


def phrase(change: Change) -> str:
    """A change in words."""
    if change.kind is Kind.MOVED:
        return f"moved {change.old_path} -> {change.path}"
    return f"{change.kind.value} {change.path}"
