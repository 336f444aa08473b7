"""``filewatchctl index diff, pending``: what became of files, and what waits for somebody."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.commands.changes import coloured
from filewatchd.cli.index import telling
from filewatchd.cli.index.opening import Scope, is_below, opened, said_argument, scopes
from filewatchd.cli.options import Since, examples, with_json
from filewatchd.cli.page import FAINT, GOOD, WARNING, Block, Cell, Column, Lines, Table, Text, numbers
from filewatchd.cli.text import local, path_in, to_json, to_line
from filewatchd.notation import one_line

if TYPE_CHECKING:
    from filewatchd.state.index.reading import Reader
    from filewatchd.state.index.rows import Change, Root

_SHOWN = 2000  # changes that are listed for people


@click.command(
    short_help="Show what changed.",
    epilog=examples("filewatchctl index diff --since 1d", "filewatchctl index diff /etc --since 2026-01-31T12:00:00Z"),
)
@said_argument
@click.option("--since", type=Since(), default="1d", show_default=True, metavar="WHEN",
              help="Changes found since then: 2h, 30m, or RFC 3339.")  # fmt: skip
@with_json
def diff(session: Session, said: str | None, since: str) -> None:
    """Show what changed, whatever was decided of it, oldest first. With --json each is an object on a line."""
    with opened() as reader:
        for change, root in changes_in(reader, scopes(reader, said), states=(), since=since):
            document = telling.change(change, root)
            click.echo(to_line(document) if session.as_json else _line(document), color=coloured())


def changes_in(
    reader: Reader, found: Sequence[Scope], *, states: Sequence[str] | None = None, since: str | None = None
) -> Iterator[tuple[Change, Root]]:
    """Changes in some scopes, oldest first, each once; those that wait, unless states are said (none: all)."""
    from filewatchd.actions.checksum.choosing import nanoseconds
    from filewatchd.state.index.rows import WAITS

    wanted = WAITS if states is None else states
    by_root: dict[int, list[Scope]] = {}
    for scope in found:
        by_root.setdefault(scope.root.id, []).append(scope)
    after, since_ns = 0, nanoseconds(since) if since else 0
    while page := reader.changes(states=wanted, since_ns=since_ns, after=after, limit=1000):
        after = page[-1].id
        for change in page:
            mine = by_root.get(change.root, [])
            if any(is_below(change.path, scope.path) for scope in mine):
                yield change, mine[0].root


def _line(document: Mapping[str, Any]) -> str:
    verdict = click.style(f"{document['verdict']:<10}", fg=_colour(document["verdict"]))
    old = f"{one_line(path_in(document, 'old_path'))} -> " if "old_path" in document else ""
    notes = [note for note in (document["label"], telling.difference(document)) if note]
    more = f"  ({'; '.join(map(one_line, notes))})" if notes else ""
    return f"{local(document['found'])}  {verdict}  {document['state']:<8}  {old}{one_line(path_in(document))}{more}"


def _colour(verdict: str) -> str | None:
    style = telling.STYLES.get(verdict)
    return None if style == FAINT else style


@click.command(
    short_help="List what waits for somebody.",
    epilog=examples("filewatchctl index pending", "filewatchctl index pending /etc --since 2h --files"),
)
@said_argument
@click.option("--since", type=Since(), metavar="WHEN", help="Only what was found since then: 2h, 30m, or RFC 3339.")
@click.option("--files", is_flag=True, help="Each file of an upgraded package, too.")
@with_json
def pending(session: Session, said: str | None, since: str | None, files: bool) -> int:
    """List findings and changes that wait for approval. Exit code 3: there are some.

    Files that agree with their package are one line for each package, unless --files is said; --json tells both.
    """
    with opened() as reader:
        waits = changes_in(reader, scopes(reader, said), since=since)
        if session.as_json:
            return 3 if _streamed(waits, reader.packages()) else 0
        found, more = some(waits)
        document = {**waiting(found, reader.packages()), "more": more}
    session.tell(document, lambda told: pending_page(told, files=files))
    return 3 if found else 0


def _streamed(waits: Iterable[tuple[Change, Root]], versions: Mapping[str, str]) -> int:
    """Print the document of all that waits as it is read: there may be millions. Returns how many they are."""
    text = to_json if sys.stdout.isatty() else to_line
    count = 0
    labelled: list[tuple[Change, Root]] = []
    click.echo('{"changes":[', nl=False)
    for change, root in waits:
        click.echo("," * (count > 0) + text(telling.change(change, root)), nl=False)
        count += 1
        if change.label is not None:
            labelled.append((change, root))
    click.echo(f'],"packages":{text(waiting(labelled, versions)["packages"])},"more":0}}')
    return count


def some(waits: Iterable[tuple[Change, Root]]) -> tuple[list[tuple[Change, Root]], int]:
    """All that packages brought, which are few lines, and of the others as many as a person reads; how many more."""
    found: list[tuple[Change, Root]] = []
    more = room = 0
    for change, root in waits:
        room += change.label is None
        if change.label is None and room > _SHOWN:
            more += 1
        else:
            found.append((change, root))
    return found, more


def waiting(found: Sequence[tuple[Change, Root]], versions: Mapping[str, str]) -> dict[str, Any]:
    """Changes that wait, and the upgrades among them."""
    from filewatchd.actions.checksum.packages.grouping import grouped

    upgrades, _ = grouped([change for change, _ in found], versions)
    return {
        "changes": [telling.change(change, root) for change, root in found],
        "packages": [
            {
                "package": each.package, "database": each.database, "old": each.old or None, "new": each.new,
                "files": len(each.changes), "text": each.text, "ids": [change.id for change in each.changes],
            }
            for each in upgrades
        ],
    }  # fmt: skip


def pending_page(document: Mapping[str, Any], *, files: bool) -> Iterator[Block]:
    """Upgrades, then the other changes."""
    upgraded = set() if files else {number for each in document["packages"] for number in each["ids"]}
    yield Lines([Cell(each["text"], WARNING) for each in document["packages"]], "Packages")
    rest = [each for each in document["changes"] if each["id"] not in upgraded]
    yield changes_table(rest, "Changes")
    if document.get("more"):
        yield Lines([Cell(f"and {document['more']:,} more; say a path or --since, or --json for all", WARNING)])
    if not document["changes"]:
        yield Lines([Cell("nothing waits", GOOD)])
    else:
        yield Lines(["approve with `filewatchctl index approve ID...`, --path, --glob, --package or --all"])


def changes_table(documents: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Changes as a table."""
    columns = (*numbers("id"), Column("found"), Column("verdict"), Column("state"), Column("path"), Column("what"))
    return Table(columns, [_row(each) for each in documents], title)


def _row(document: Mapping[str, Any]) -> Sequence[Text]:
    old = f"{path_in(document, 'old_path')} -> " if "old_path" in document else ""
    who = f"by uid {document['uid']}" if document["uid"] is not None else ""
    notes = [note for note in (document["label"], telling.difference(document), who, document["comment"]) if note]
    state = document["state"]
    verdict = Cell(document["verdict"], telling.STYLES.get(document["verdict"], ""))
    decided = Cell(state, telling.STATE_STYLES.get(state, ""))
    where = f"{old}{path_in(document)}"
    return str(document["id"]), local(document["found"]), verdict, decided, where, "; ".join(notes)
