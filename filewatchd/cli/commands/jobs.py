"""``filewatchctl jobs``: which there are and were, the story of one, and what to do about those that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from filewatchd.cli import story
from filewatchd.cli.asking import Session
from filewatchd.cli.options import Job, Rule, Since, examples, rule_option, with_json

_Command = TypeVar("_Command", bound=Callable[..., Any])
_STATES = ("running", "backoff", "ok", "failed", "cancelled")


def _which(command: _Command) -> _Command:
    """The options of a list."""
    for option in (
        click.option("--before", type=Job(), metavar="ID", help="Only jobs with lower numbers: the next page."),
        click.option(
            "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N",
            help="At most so many.",
        ),
        click.option("--since", type=Since(), metavar="WHEN", help="Only jobs made since then: 2h, 30m, or RFC 3339."),
        click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state."),
        rule_option,
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(
    invoke_without_command=True,
    short_help="List jobs; show, retry, cancel or drop some.",
    epilog=examples(
        "filewatchctl jobs --state failed --since 2h", "filewatchctl jobs show 17", "filewatchctl jobs retry --all"
    ),
)
@_which
@with_json
def jobs(session: Session, **which: Any) -> None:
    """List jobs, newest first; tell the story of one; retry, cancel or drop."""
    if click.get_current_context().invoked_subcommand is None:
        _list(session, **which)


@jobs.command("list", short_help="List jobs, newest first.")
@_which
@with_json
def listing(session: Session, **which: Any) -> None:
    """List jobs, newest first, as `jobs` alone does."""
    _list(session, **which)


def _list(session: Session, **which: Any) -> None:
    session.tell(session.ask("jobs", which), story.listing)


@jobs.command(short_help="Tell the whole story of a job.", epilog=examples("filewatchctl jobs show 17"))
@click.argument("number", type=Job(), metavar="ID")
@with_json
def show(session: Session, number: int) -> None:
    """Tell the whole story of a job: raw events, changes, attempts, output, outcomes, and the times between."""
    session.tell(session.ask("job", {"id": number}), story.page)


def _chosen(verb: str, *states: str) -> Callable[[_Command], _Command]:
    """What `retry` and `drop` are told: exactly one of a job, a rule and all."""

    def add(command: _Command) -> _Command:
        command = click.option("--all", "every", is_flag=True, help=f"{verb} those of all rules.")(command)
        command = click.option("--rule", type=Rule(), metavar="RULE", help=f"{verb} those of this rule.")(command)
        return click.argument("number", type=Job(*states), metavar="[ID]", required=False)(command)

    return add


def _arguments(number: int | None, rule: str | None, every: bool) -> dict[str, Any]:
    if sum((number is not None, rule is not None, every)) != 1:
        raise click.UsageError("Say which: a job's ID, --rule RULE, or --all.", click.get_current_context())
    return {"id": number, "rule": rule, "all": every or None}


@jobs.command(short_help="Try failed paths again now.", epilog=examples("filewatchctl jobs retry --rule compress-drop"))
@_chosen("Retry", "failed", "backoff", "cancelled")
@with_json
def retry(session: Session, number: int | None, rule: str | None, every: bool) -> None:
    """Try paths again now that failed, were cancelled, or wait for their retry."""
    session.tell(session.ask("retry", _arguments(number, rule, every)), story.retried)


@jobs.command(short_help="Cancel a job.", epilog=examples("filewatchctl jobs cancel 17"))
@click.argument("number", type=Job("running", "backoff"), metavar="ID")
@with_json
def cancel(session: Session, number: int) -> None:
    """Cancel a job that runs or waits for its retry; its paths wait for `jobs retry`, `jobs drop` or a change."""
    session.tell(session.ask("cancel", {"id": number}), story.cancelled)


@jobs.command(short_help="Give failed paths up.", epilog=examples("filewatchctl jobs drop 17"))
@_chosen("Drop", "failed", "cancelled")
@click.option("--yes", is_flag=True, help="Don't ask, not even at a terminal.")
@with_json
def drop(session: Session, number: int | None, rule: str | None, every: bool, yes: bool) -> None:
    """Give failed and cancelled paths up: take them as handled, as they are now."""
    arguments = _arguments(number, rule, every)
    whose = f"job {number}" if number else f"rule {rule}" if rule else "all rules"
    session.confirm(f"Give the failed and cancelled paths of {whose} up, without their work being done?", yes=yes)
    session.tell(session.ask("drop", arguments), story.dropped)
