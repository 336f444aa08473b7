"""``filewatchctl index approve, reject``: the daemon decides on changes that wait, and keeps who asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index.opening import kept, of_rule, opened
from filewatchd.cli.index.waiting import changes_in, pending_page, waiting
from filewatchd.cli.options import Since, examples, path_arguments, rule_option, with_json
from filewatchd.cli.page import GOOD, Block, Cell, Lines
from filewatchd.cli.text import number
from filewatchd.control.places import action_place
from filewatchd.errors import FatalError

if TYPE_CHECKING:
    from filewatchd.state.index.rows import Change, Root

_SHOWN = 20_000  # changes
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _choosing(command: _Command) -> _Command:
    """The options that say which."""
    for option in (
        click.option("--yes", is_flag=True, help="Don't ask, not even at a terminal."),
        click.option("--dry-run", is_flag=True, help="Only show which they are."),
        click.option("--comment", default="", metavar="TEXT", help="Why; it is kept."),
        click.option("--all", "every", is_flag=True, help="All that wait, of --rule where it is said."),
        click.option("--package", metavar="NAME", help="Those that agree with this package."),
        click.option("--since", type=Since(), metavar="WHEN", help="Found since then: 2h, 30m, or RFC 3339."),
        click.option("--glob", metavar="PATTERN", help="As in a rule's `include`, relative to the root."),
        click.option("--path", type=click.Path(), help="This path, and what is below it."),
        rule_option,
        click.argument("ids", type=click.IntRange(1), nargs=-1, metavar="[ID]..."),
    ):
        command = option(command)
    return command


@click.command(
    short_help="Take changes as they are.",
    epilog=examples(
        "filewatchctl index approve 17 18", "filewatchctl index approve --package openssl",
        'filewatchctl index approve --path /etc/nginx --comment "new virtual host"',
    ),
)  # fmt: skip
@_choosing
@with_json
def approve(session: Session, **said: Any) -> None:
    """Take changes that wait as they are: what was found becomes what the index expects. All conditions must fit.

    Only what you were shown is approved: what comes meanwhile waits.
    """
    _decide(session, "approve", **said)


@click.command(short_help="Refuse changes.", epilog=examples("filewatchctl index reject --path /usr/sbin/sshd"))
@_choosing
@with_json
def reject(session: Session, **said: Any) -> None:
    """Refuse changes that wait: the index keeps what it expects; they stay findings until the files are as before."""
    _decide(session, "reject", **said)


def _decide(
    session: Session, verb: str, *, yes: bool, dry_run: bool, every: bool, rule: str | None, **said: Any
) -> None:
    if not any((said["ids"], said["path"], said["glob"], said["since"], said["package"], every)):
        text = "Say which: ID..., --path, --glob, --since, --package, or --all."
        raise click.UsageError(text, click.get_current_context())
    where = path_arguments(said["path"]) if said["path"] is not None else {}
    conditions = {**said, "path": None, **where, "all": every or None, "ids": list(said["ids"]) or None}
    try:
        found = _found(None if dry_run else session, conditions, rule)
    except FatalError as error:
        if rule is None or error.exit_code != 77:  # whoever may not read the index can still name a rule
            raise
        session.tell(_asked(session, verb, [rule], {**conditions, "dry_run": dry_run or None}), decided)
        return
    document = waiting(found.changes, found.versions)
    if dry_run or not found.total:
        empty = {"decided": [], "changes": 0}
        session.tell(document if dry_run or not session.as_json else empty, lambda told: pending_page(told, files=True))
        return
    if not session.as_json and not yes:
        session.tell(document, lambda told: list(pending_page(told, files=False))[:2])
    session.confirm(f"{verb.capitalize()} {number(found.total, 'change')}?", yes=yes or session.as_json)
    conditions["until"] = found.until
    rules = [rule for rule in kept(session) if rule in found.rules]
    if gone := [rule for rule in found.rules if rule not in rules]:
        click.echo(f"left out, as no such rule is configured: {', '.join(gone)}", err=True)
    session.tell(_asked(session, verb, rules, conditions), decided)


class Meant(NamedTuple):
    """The changes that are meant: at most `_SHOWN` of them, how many they are, and the highest number."""

    changes: list[tuple[Change, Root]]
    total: int
    until: int
    rules: list[str]
    versions: dict[str, str]


def _found(daemon: Session | None, conditions: Mapping[str, Any], rule: str | None) -> Meant:
    """The changes that are meant, as the daemon will choose them.

    Raises:
        FatalError: one that is named by its number doesn't wait.
    """
    from filewatchd.actions.checksum.choosing import chosen
    from filewatchd.actions.checksum.documents import Choice

    said = {name: value for name, value in conditions.items() if value not in (None, "")}
    choice = Choice(**{**said, "ids": tuple(said.get("ids", ()))})
    shown: list[tuple[Change, Root]] = []
    rules: dict[str, None] = {}
    total = until = 0
    left = set(choice.ids)
    with opened(daemon) as reader:
        waits = changes_in(reader, of_rule(reader, rule))
        while some := list(itertools.islice(waits, 1000)):
            roots = {root.id: root for _, root in some}
            meant = chosen([change for change, _ in some], roots, choice)
            total += len(meant)
            left -= {change.id for change, _ in some}
            until = meant[-1].id if meant else until
            rules |= dict.fromkeys(roots[change.root].rule for change in meant)
            shown += [(change, roots[change.root]) for change in meant[: max(0, _SHOWN - len(shown))]]
        if left:
            numbers = ", ".join(map(str, sorted(left)[:10]))
            raise FatalError(f"nothing that waits has the number {numbers}; see filewatchctl index pending")
        return Meant(shown, total, until, list(rules), reader.packages())


def _asked(session: Session, verb: str, rules: Sequence[str], conditions: Mapping[str, Any]) -> dict[str, Any]:
    place = action_place("checksum", verb, acts=True)
    answers = [session.ask(place, {"rule": rule, **conditions}, timeout=None) for rule in rules]
    return {"decided": answers, "changes": sum(answer["changes"] for answer in answers)}


def decided(document: Mapping[str, Any]) -> Sequence[Block]:
    """How many, rule by rule."""
    return [
        Lines([
            Cell(f"{each['rule']}: {number(each['changes'], 'change')} {each['state']}; {each['waiting']:,} wait", GOOD)
            for each in document["decided"]
        ])
    ]  # fmt: skip
