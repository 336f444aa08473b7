"""What a request's body is made of: a value of YAML whose strings hold placeholders, filled with what a job tells.

Placeholders fill strings, never JSON's own text, so no name can break out of its string.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from filewatchd.actions.base import JobContext, Problem
from filewatchd.actions.template import Template, TemplateError, parse
from filewatchd.notation import fit_text

NAMES = (
    "rule", "job", "attempt", "event", "message", "details", "count", "path", "key", "host", "time", "id",
)  # fmt: skip
DOCUMENT = "document"  # as a string by itself in `json`: the whole document
_LINES = 20  # of `details`


def message(job: JobContext) -> str:
    """A job in a line."""
    if job.notice is not None:
        return fit_text(job.notice.message)
    if len(job.changes) == 1:
        return fit_text(f"{job.changes[0].kind.value} {job.changes[0].path}")
    return f"{len(job.changes):,} files changed"


def values_of(job: JobContext) -> dict[str, str]:
    """The placeholders that a job gives."""
    notice = job.notice
    if notice is not None:
        lines = [entry.line for entry in notice.entries]
        count, event = len(lines) + notice.more, notice.event.value
        path = next((entry.path for entry in notice.entries if entry.path), "")
        key = notice.entries[0].key if notice.entries else ""
    else:
        lines = [f"{change.kind.value} {change.path}" for change in job.changes]
        count, event, key = len(lines), "change", ""
        path = job.changes[0].path if job.changes else ""
    shown = lines[:_LINES] + ([f"... and {count - _LINES:,} more"] if count > _LINES else [])
    return {
        "rule": job.rule,
        "job": str(job.id),
        "attempt": str(job.attempt),
        "event": event,
        "message": message(job),
        "details": fit_text("\n".join(shown)),
        "count": str(count),
        "path": fit_text(path),
        "key": fit_text(key),
    }


def parsed(value: Any, names: tuple[str, ...]) -> Any:
    """A body with its strings as templates."""
    if isinstance(value, str):
        return value if value == f"{{{DOCUMENT}}}" else parse(value, names)
    if isinstance(value, dict):
        return {key: parsed(item, names) for key, item in value.items()}
    return [parsed(item, names) for item in value] if isinstance(value, list) else value


def filled(value: Any, values: Mapping[str, str], document: Any) -> Any:
    """A body with its placeholders filled."""
    if isinstance(value, Template):
        return value.fill(values)
    if isinstance(value, str):
        return document
    if isinstance(value, dict):
        return {key: filled(item, values, document) for key, item in value.items()}
    return [filled(item, values, document) for item in value] if isinstance(value, list) else value


def template_problems(value: Any, where: tuple[str | int, ...], names: tuple[str, ...]) -> Iterator[Problem]:
    """Unknown placeholders in a value's strings. ``where``: its key path."""
    if isinstance(value, str) and value != f"{{{DOCUMENT}}}":
        try:
            parse(value, names)
        except TemplateError as error:
            yield Problem(str(error), error.hint, where)
    elif isinstance(value, dict):
        if len(value) == 1 and next(iter(value.values())) is None and next(iter(value)) in (*names, DOCUMENT):
            word = next(iter(value))
            yield Problem(f"{{{word}}} without quotes is a mapping to YAML", f'write "{{{word}}}"', where)
        for key, item in value.items():
            yield from template_problems(item, (*where, key), names)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from template_problems(item, (*where, index), names)
