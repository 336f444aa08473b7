"""The action ``log``: a line for each change, for people and for whoever reads the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from filewatchd.actions.base import Context, JobContext, Needs, Problem
from filewatchd.actions.template import (
    NAMES,
    PER_NOTICE,
    TOLD,
    Template,
    TemplateError,
    change_values,
    job_values,
    names_for,
    parse,
)
from filewatchd.model import OK, Outcome, RuleSettings
from filewatchd.notation import one_line

_TURN = 500  # lines between two turns of the event loop: some milliseconds

_MESSAGE = "{kind} {path}"
_NOTICE = "{rule}: {event}: {message}"  # in its place where there are no changes

name = "log"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write a line to the log for each change."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The level at which the lines are logged.")
    ] = "info"
    message: Annotated[
        str, Meta(description="The line; it may hold the placeholders of `exec`, such as `{kind}` and `{path}`.")
    ] = _MESSAGE


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Unknown placeholders."""
    if rule.event is not None and options.message == _MESSAGE:
        return
    try:
        parse(options.message, names_for(rule))
    except TemplateError as error:
        yield Problem(str(error), error.hint, ("message",))


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """None: the general ones are right."""
    return {}


def needs(options: Options) -> Needs:
    """Nothing."""
    return Needs()


def open(options: Options, ctx: Context) -> LogAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return LogAction(options, ctx)


class LogAction:
    """Logs a batch; see `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._lines = 0
        self.reconfigure(options)

    async def recover(self) -> None:
        """Nothing can be unfinished."""

    async def run(self, job: JobContext) -> Outcome:
        """A line for each change, with pauses that let others work; of a notice one."""
        if job.notice is not None:
            self._ctx.log.log(self._level, "%s", told(self._notice, job))
            self._lines += 1
            return OK
        if self._ctx.log.isEnabledFor(self._level):
            for start in range(0, len(job.changes), _TURN):
                for line in lines(self._template, job, start, start + _TURN):
                    self._ctx.log.log(self._level, "%s", line)
                await asyncio.sleep(0)
        self._lines += len(job.changes)
        return OK

    def plan(self, job: JobContext) -> Sequence[str]:
        """The lines."""
        if job.notice is not None:
            return [f"log: {told(self._notice, job)}"]
        return [f"log: {line}" for line in lines(self._template, job, 0, len(job.changes))]

    def reconfigure(self, options: Options) -> bool:
        """Always possible in place."""
        self._level = logging.getLevelNamesMapping()[options.level.upper()]
        self._template = parse(options.message, (*NAMES, *PER_NOTICE))
        self._notice = parse(_NOTICE, TOLD) if options.message == _MESSAGE else self._template
        return True

    async def stop(self, grace: float) -> None:
        """Nothing is open."""

    def statistics(self) -> Mapping[str, Any]:
        """How many lines were written."""
        return {"lines": self._lines}


def lines(template: Template, job: JobContext, start: int, end: int) -> list[str]:
    """The filled template of some of the job's changes; line breaks in names are shown, not written."""
    common = job_values(job)
    return [one_line(template.fill(change_values(change) | common)) for change in job.changes[start:end]]


def told(template: Template, job: JobContext) -> str:
    """The filled template of a notice."""
    return one_line(template.fill(job_values(job)))
