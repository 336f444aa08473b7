"""What the commands' arguments have in common: durations, rules and jobs that complete themselves, and ``--json``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from filewatchd.cli.asking import Session
from filewatchd.cli.places import session
from filewatchd.control.places import RequestError
from filewatchd.errors import FilewatchdError

R = TypeVar("R")

_PATIENCE = 1.0  # seconds that a completion may take


class Duration(click.ParamType[float]):
    """Seconds, written as in the configuration: ``30s``, ``10m``, ``1h30m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what would be right."""
        from filewatchd.measures import parse_duration
        from filewatchd.notation import MalformedError

        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except MalformedError as error:
            self.fail(f"{error}; {error.hint}", param, ctx)


class Since(click.ParamType[str]):
    """A moment: a duration before now, or RFC 3339."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """RFC 3339 with microseconds; a time without an offset is this machine's."""
        from datetime import UTC, datetime, timedelta

        from filewatchd.measures import parse_duration
        from filewatchd.notation import MalformedError

        try:
            moment = datetime.now(UTC) - timedelta(seconds=parse_duration(value))
        except OverflowError:
            self.fail(f"{value!r} is too long ago", param, ctx)
        except MalformedError:
            try:
                moment = datetime.fromisoformat(value).astimezone(UTC)
            except (ValueError, OverflowError):
                self.fail(f"{value!r} is no time; write how long ago (2h, 30m), or RFC 3339", param, ctx)
        return moment.isoformat(timespec="microseconds")


class Rule(click.ParamType[str]):
    """A rule's name, which the daemon knows."""

    name = "rule"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        rules = _asked(ctx, "rules").get("rules", ())
        return _beginning(incomplete, ((rule["name"], rule["description"]) for rule in rules))


class Job(click.IntRange):
    """A job's number."""

    name = "id"

    def __init__(self, *states: str) -> None:
        """``states``: those whose jobs are worth to be suggested; of no state: all."""
        super().__init__(min=1)
        self._states = states

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The numbers that begin so, the newest first."""
        found = [row for state in self._states or (None,) for row in _asked(ctx, "jobs", state=state).get("jobs", ())]
        return _beginning(incomplete, ((str(row["id"]), f"{row['rule']}: {row['state']}") for row in found))


def _asked(ctx: click.Context, name: str, **arguments: Any) -> Mapping[str, Any]:
    """What the daemon says, or nothing: a completion is silent, and soon over."""
    said = ctx.find_root().params
    try:
        return session(said.get("socket"), said.get("config")).ask(name, arguments, timeout=_PATIENCE)
    except (FilewatchdError, RequestError):  # the command itself will tell
        return {}


def _beginning(incomplete: str, items: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [CompletionItem(value, help=text or None) for value, text in items if value.startswith(incomplete)]


def with_json(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command its session, and the flag that all have."""

    @click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON.")
    @click.pass_obj
    @functools.wraps(command)
    def run(asking: Session, /, as_json: bool, **options: Any) -> R:
        asking.as_json |= as_json
        return command(asking, **options)

    return run


def examples(*lines: str) -> str:
    """An epilog with examples, which click leaves as they are."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


rule_option = click.option("--rule", type=Rule(), metavar="RULE", help="Only this rule.")


def path_arguments(path: str, name: str = "path") -> dict[str, str]:
    """A path as an argument of a request: absolute, as its bytes where it isn't UTF-8."""
    from filewatchd.notation import path_fields

    fields = path_fields(name, os.path.abspath(path))
    encoded = fields.get(f"{name}_b64")
    return fields if encoded is None else {f"{name}_b64": encoded}
