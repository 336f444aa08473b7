"""``filewatchctl reload``: the versions of a service's configuration, what became of them, and back to one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import Rule, examples, with_json
from filewatchd.cli.page import (
    BAD,
    FAINT,
    GOOD,
    STRONG,
    WARNING,
    Block,
    Cell,
    Column,
    Fields,
    Lines,
    Table,
    Text,
    numbers,
)
from filewatchd.cli.text import ago, local, number, path_in, size

if TYPE_CHECKING:
    from filewatchd.actions.reload.offline import Reader

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FINDINGS = 3
_FATES = {
    "good": GOOD,
    "refused": BAD,
    "failed": BAD,
    "unhealthy": BAD,
    "passed": "",
    "new": FAINT,
    "replaced": WARNING,
}


@click.group(
    short_help="See a service's configuration in its versions, and go back to one.",
    epilog=examples(
        "filewatchctl reload history nginx", "filewatchctl reload diff nginx good 12",
        "filewatchctl reload plan nginx", "filewatchctl reload rollback nginx 11",
    ),
)  # fmt: skip
def reload() -> None:
    """See the versions of a `reload` rule's files, what became of each, and go back to one.

    VERSION is a number, the beginning of a digest, or one of good, applied and desired. Without a daemon, history, show
    and diff read the versions from its state directory.
    """


_rule = click.argument("rule", type=Rule(), metavar="RULE")


def _offline(command: _Command) -> _Command:
    return click.option(
        "--state-dir", type=click.Path(file_okay=False), metavar="DIR",
        help="Ask no daemon, and read its state directory.",
    )(command)  # fmt: skip


def _asked(
    session: Session,
    state_dir: str | None,
    name: str,
    arguments: Mapping[str, Any],
    read: Callable[[Reader], Any],
) -> dict[str, Any]:
    """The daemon's answer, or the same from its state directory."""
    from filewatchd.control.client import NoDaemonError
    from filewatchd.control.places import action_place

    if state_dir is None:
        try:
            return session.ask(action_place("reload", name), arguments)
        except NoDaemonError:
            if not os.access(f"{_state(None)}/versions", os.R_OK | os.X_OK):
                raise
    import msgspec

    from filewatchd.actions.reload.offline import Reader

    document: dict[str, Any] = msgspec.to_builtins(read(Reader(_state(state_dir), arguments["rule"])))
    return document


def _state(said: str | None) -> str:
    from filewatchd.cli.places import state_path

    return state_path(said)


def _act(session: Session, name: str, **arguments: Any) -> dict[str, Any]:
    from filewatchd.control.places import action_place

    return session.ask(action_place("reload", name, acts=True), arguments, timeout=None)


@reload.command(short_help="List the versions.", epilog=examples("filewatchctl reload history nginx"))
@_rule
@_offline
@with_json
def history(session: Session, rule: str, state_dir: str | None) -> None:
    """List the versions of a rule's files, the newest first, and where disk and service stand to each other."""
    session.tell(_asked(session, state_dir, "history", {"rule": rule}, lambda reader: reader.history()), _history)


def _history(found: Mapping[str, Any]) -> Iterator[Block]:
    rows: list[tuple[str, Text]] = [("rule", found["rule"]), ("state", _state_of(found))]
    if found["due"] is not None:
        retry = f"`filewatchctl reload retry {found['rule']}` doesn't wait"
        rows.append(("due", f"{local(found['due'])} ({ago(found['due'])}); {retry}"))
    if found["differs"]:
        rows.append(("live", Cell(found["differs"], WARNING)))
    yield Fields(rows)
    columns = (*numbers("VERSION"), *_whole("SEEN", "FATE", "CHANGES"), *numbers("FILES", "SIZE"), *_whole("IS"))
    columns += (Column("WHY"),)
    yield Table(columns, [_row(version) for version in found["versions"]])


def _whole(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, whole=True) for name in names)


def _state_of(found: Mapping[str, Any]) -> Cell:
    known = f"the disk has version {found['desired']}, the service {found['applied'] or 'one that nobody knows'}"
    unsure = "" if found["sure"] or found["applied"] is None else " (told, but not sure)"
    good = found["state"] == "synced"
    return Cell(f"{found['state']}: {known}{unsure}", GOOD if good else BAD if found["state"] == "held" else WARNING)


def _row(version: Mapping[str, Any]) -> tuple[Text, ...]:
    changes = f"+{version['added']} ~{version['changed']} -{version['removed']}"
    why = version["why"].split("\n")[0]
    return (
        Cell(str(version["version"]), STRONG if version["marks"] else ""), local(version["seen"]),
        Cell(version["fate"], _FATES.get(version["fate"], "")), changes, str(version["files"]), size(version["bytes"]),
        ", ".join(version["marks"]), why,
    )  # fmt: skip


@reload.command(short_help="Show a version.", epilog=examples(
    "filewatchctl reload show nginx", "filewatchctl reload show nginx 11"))  # fmt: skip
@_rule
@click.argument("version", metavar="[VERSION]", default="good")
@_offline
@with_json
def show(session: Session, rule: str, version: str, state_dir: str | None) -> None:
    """Show what became of a version, and its files: of the last good one, unless another is named."""
    arguments = {"rule": rule, "version": version}
    session.tell(_asked(session, state_dir, "show", arguments, lambda reader: reader.show(version)), _shown)


def _shown(found: Mapping[str, Any]) -> Iterator[Block]:
    version = found["version"]
    applied = f"{local(version['applied'])} ({ago(version['applied'])})" if version["applied"] else "never"
    yield Fields([
        ("version", f"{version['version']} of {found['rule']}"), ("digest", version["digest"]),
        ("seen", f"{local(version['seen'])}, on the {version['origin']}"),
        ("fate", Cell(version["fate"], _FATES.get(version["fate"], ""))), ("applied", applied),
    ])  # fmt: skip
    yield Lines(version["why"].split("\n") if version["why"] else [], "Why")
    columns = (*_whole("MODE", "OWNER"), *numbers("SIZE"), Column("PATH"))
    rows = [(row["mode"], f"{row['uid']}:{row['gid']}", size(row["size"]), _name(row)) for row in found["files"]]
    yield Table(columns, rows)
    yield Lines([f"and {number(found['more'], 'file')} more"] if found["more"] else [])


def _name(row: Mapping[str, Any]) -> str:
    suffix = {"d": "/", "l": f" -> {row['content']}"}.get(row["kind"], "")
    return f"{path_in(row)}{suffix}"


@reload.command(short_help="Say what differs between two versions.", epilog=examples(
    "filewatchctl reload diff nginx", "filewatchctl reload diff nginx 11 12"))  # fmt: skip
@_rule
@click.argument("before", metavar="[BEFORE]", default="good")
@click.argument("after", metavar="[AFTER]", default="disk")
@_offline
@with_json
def diff(session: Session, rule: str, before: str, after: str, state_dir: str | None) -> int:
    """Say what differs between two versions: the last good one and what is on the disk, unless they are named.

    What looks like a secret (keys such as password or token, private keys) is masked; that it changed still shows. Of a
    file that you could neither read nor act on (control.act), only its name and the number of lines are shown. Exit
    code 3 if anything differs.
    """
    arguments = {"rule": rule, "before": before, "after": after}
    found = _asked(session, state_dir, "diff", arguments, lambda reader: reader.diff(before, after))
    session.tell(found, lambda told: [Lines(_coloured(told["lines"]) or ["nothing differs"])])
    return _FINDINGS if found["lines"] else 0


def _coloured(lines: Sequence[str]) -> list[Text]:
    return [Cell(line.expandtabs(), {"+": GOOD, "-": BAD, "@": FAINT}.get(line[:1], "")) for line in lines]


@reload.command(short_help="Check what is on the disk, and say what would be done.", epilog=examples(
    "filewatchctl reload plan nginx"))  # fmt: skip
@_rule
@with_json
def plan(session: Session, rule: str) -> int:
    """Check what is on the disk now and say what would be done about it. Nothing is applied.

    Exit code 3 if the check fails.
    """
    found = _act(session, "plan", rule=rule)
    session.tell(found, _planned)
    return _FINDINGS if found["passed"] is False else 0


def _planned(found: Mapping[str, Any]) -> Iterator[Block]:
    verdict = {True: Cell("passes", GOOD), False: Cell("fails", BAD), None: Cell("there is none", FAINT)}
    yield Fields([("rule", found["rule"]), ("version", found["version"]), ("check", verdict[found["passed"]])])
    yield Lines(found["output"].expandtabs().rstrip().split("\n") if found["output"].strip() else [], "The check says")
    yield Lines([Cell(found["blind"], WARNING)] if found["blind"] else [])
    yield Lines(_coloured(found["lines"]), "It differs from what the service has")
    yield Lines(list(found["steps"]), "Would be done")


@reload.command(short_help="Put an earlier version back.", epilog=examples(
    "filewatchctl reload rollback nginx", "filewatchctl reload rollback nginx 11"))  # fmt: skip
@_rule
@click.argument("version", metavar="[VERSION]", default="good")
@click.option("--yes", is_flag=True, help="Don't ask, not even at a terminal.")
@with_json
def rollback(session: Session, rule: str, version: str, yes: bool) -> None:
    """Check an earlier version, put it back on the disk and apply it: the last good one, unless another is named.

    What is on the disk now is kept as a version.
    """
    which = "the last good version" if version == "good" else f"version {version}"
    session.confirm(f"Put {which} of {rule} back on the disk, and apply it?", yes=yes)
    session.tell(_act(session, "rollback", rule=rule, version=version), _told)


@reload.command(short_help="Try what is on the disk again.", epilog=examples("filewatchctl reload retry nginx"))
@_rule
@with_json
def retry(session: Session, rule: str) -> None:
    """Check and apply what is on the disk again, whatever became of it before."""
    session.tell(_act(session, "retry", rule=rule), _told)


def _told(found: Mapping[str, Any]) -> Iterator[Block]:
    yield Lines([f"{found['rule']}: {found['text']}; `filewatchctl reload history {found['rule']}` tells how it ends"])
