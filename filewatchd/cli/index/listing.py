"""``filewatchctl index status, ls, show, find``: what is known."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index import telling
from filewatchd.cli.index.opening import Scope, kept_here, opened, said_argument, scopes
from filewatchd.cli.index.waiting import changes_table
from filewatchd.cli.options import examples, with_json
from filewatchd.cli.page import BAD, GOOD, WARNING, Block, Cell, Column, Fields, Table, Text, numbers
from filewatchd.cli.text import ago, counts, local, path_in, size, to_line
from filewatchd.notation import one_line

if TYPE_CHECKING:
    from filewatchd.state.index.reading import Found, Reader
    from filewatchd.state.index.rows import Root

# ---- status


@click.command(short_help="Say how the index stands.", epilog=examples("filewatchctl index status"))
@said_argument
@with_json
def status(session: Session, said: str | None) -> None:
    """Say how many files are known, since when all are verified, what waits, and what runs."""
    rules = kept_here(session)
    with opened() as reader:
        found = scopes(reader, said)
        document = {
            "index": reader.path,
            "roots": [{**_root(reader, scope.root), "configured": _is_kept(scope.root, rules)} for scope in found],
            "runs": [telling.run(each) for each in reader.runs()],
            "chain": _chain(reader),
        }
    session.tell(document, status_page)


def _is_kept(root: Root, rules: Sequence[str] | None) -> bool | None:
    """Whether a rule still keeps a root's rows; None where no daemon says so."""
    return None if rules is None else root.rule in rules


def _root(reader: Reader, root: Root) -> dict[str, Any]:
    from filewatchd.notation import path_fields

    summary = reader.summary(root.id)
    return {
        "rule": root.rule, **path_fields("root", root.root), "built": telling.moment(root.built_ns),
        "files": summary.files, "symlinks": summary.symlinks, "bytes": summary.bytes, "algorithms": summary.algorithms,
        "unverified": summary.unverified, "verified_since": telling.seconds(summary.oldest),
        "waiting": summary.waiting,
    }  # fmt: skip


def _chain(reader: Reader) -> dict[str, Any]:
    rows = reader.connection.execute("SELECT number, hash FROM chain ORDER BY number DESC LIMIT 1").fetchall()
    seals = reader.connection.execute("SELECT number, time_ns FROM seals ORDER BY number DESC LIMIT 1").fetchall()
    return {
        "entries": rows[0][0] if rows else 0,
        "head": rows[0][1].hex() if rows else None,
        "sealed": seals[0][0] if seals else None,
        "sealed_at": telling.moment(seals[0][1]) if seals else None,
    }


def status_page(document: Mapping[str, Any]) -> Iterator[Block]:
    """Roots, what runs, the chain."""
    columns = (Column("rule"), Column("root"), *numbers("files", "size"), Column("verified"), Column("waits"))
    yield Table(columns, [_root_row(root) for root in document["roots"]])
    running = [run for run in document["runs"] if run["state"] == "running"]
    yield Table(
        (Column("runs"), Column("rule"), *numbers("files", "of"), Column("began")),
        [[run["kind"], run["rule"], f"{run['files']:,}", f"{run['total']:,}", ago(run["began"])] for run in running],
        "Under way",
    )
    chain = document["chain"]
    since = chain["entries"] - (chain["sealed"] or 0)
    sealed = f"{ago(chain['sealed_at'])}, entries since then: {since:,}" if chain["sealed"] else "never"
    yield Fields([("index", document["index"]), ("chain's entries", f"{chain['entries']:,}"), ("sealed", sealed)])


def _root_row(root: Mapping[str, Any]) -> Sequence[Text]:
    if root["built"] is None:
        verified: Text = Cell("not yet built", WARNING)
    elif root["unverified"]:
        verified = Cell(f"but {root['unverified']:,}", WARNING)
    else:
        verified = f"since {local(root['verified_since'])}" if root["verified_since"] else ""
    waits = counts(root["waiting"])
    style = BAD if "open" in root["waiting"] else WARNING
    wait = Cell(waits or "nothing", style if waits else GOOD)
    if root["configured"] is False:
        verified = Cell("not configured any more; see index forget", WARNING)
    return root["rule"], path_in(root, "root"), f"{root['files']:,}", size(root["bytes"]), verified, wait


# ---- ls, show, find


@click.command(short_help="List files that are known.", epilog=examples("filewatchctl index ls /srv/releases/bin"))
@said_argument
@click.option("--full", is_flag=True, help="Digests with all their digits.")
@with_json
def ls(session: Session, said: str | None, full: bool) -> None:
    """List the files that are known, at or below PATH or of RULE. With --json each is an object on a line."""
    with opened() as reader:
        found = scopes(reader, said)
        listed = rows(reader, found)
        first = next(listed, None)
        if first is None and any(scope.path for scope in found):
            raise click.ClickException(f"the index doesn't know {one_line(str(said))}")
        for document in itertools.chain([first] if first else [], listed):
            if session.as_json:
                click.echo(to_line(document))
            else:
                click.echo(_listed(document, 0 if full else 16))


def _listed(document: Mapping[str, Any], digits: int) -> str:
    """A line for people. A directory's path ends in a slash; of a symlink it is said where it leads."""
    digest = telling.digest_text(document, digits)
    big = "" if document["size"] is None else size(document["size"])
    verified = local(document["verified"]) if document["verified"] else "never"
    where = one_line(path_in(document))
    if document["type"] == "symlink":
        where += f" -> {one_line(path_in(document, 'target'))}" if "target" in document else " (a symlink)"
    return f"{digest:<24}  {big:>9}  {verified if document['size'] is not None else '':<19}  {where}"


def rows(reader: Reader, found: Iterable[Scope]) -> Iterator[dict[str, Any]]:
    """The rows in some scopes."""
    for scope in found:
        alone = reader.row(scope.root.id, scope.path) if scope.path else None
        if alone is not None:
            yield telling.row(scope.root, scope.path, alone)
        for path, record in reader.rows(scope.root.id, scope.path):
            yield telling.row(scope.root, path, record)


@click.command(short_help="Tell all that is known of a file.", epilog=examples("filewatchctl index show /etc/passwd"))
@click.argument("path", type=click.Path())
@with_json
def show(session: Session, path: str) -> int:
    """Tell all that is known of a file: its row, what it was before, and what became of it. Exit code 3: it waits."""
    with opened() as reader:
        where = scopes(reader, path)
        also = [Scope(scope.root, f"{scope.path}/") for scope in where if scope.path]  # a directory's own row
        found = [_story(reader, scope) for scope in (*where, *also)]
        below = any(reader.count(scope.root.id, scope.path) for scope in where)
    document = {"files": [each for each in found if each["row"] or each["changes"] or each["versions"]]}
    if not document["files"]:
        hint = f"; `filewatchctl index ls {shlex.quote(one_line(path))}` lists those below it" if below else ""
        raise click.ClickException(f"the index knows no file {one_line(path)}{hint}")
    session.tell(document, stories)
    waits = ("open", "pending", "rejected")
    return 3 if any(change["state"] in waits for each in document["files"] for change in each["changes"]) else 0


def _story(reader: Reader, scope: Scope) -> dict[str, Any]:
    from filewatchd.notation import path_fields

    return {
        "rule": scope.root.rule,
        **path_fields("path", scope.absolute),
        "row": telling.record(reader.row(scope.root.id, scope.path)),
        "versions": [
            {"until": telling.moment(until), **(telling.record(record) or {})}
            for until, record in reader.versions(scope.root.id, scope.path)
        ],
        "changes": [telling.change(each, scope.root) for each in reader.history(scope.root.id, scope.path)],
    }


def stories(document: Mapping[str, Any]) -> Iterator[Block]:
    """Row, versions and changes of each."""
    for each in document["files"]:
        row = each["row"] or {}
        fields: list[tuple[str, Text]] = [("path", path_in(each)), ("rule", each["rule"])]
        fields += [
            (name, telling.digest_text(row, 0) if name == "digest" else size(value) if name == "size"
             else path_in(row, name) if name == "target" else str(value))
            for name, value in row.items() if value is not None and name not in ("algorithm", "target_b64")
        ]  # fmt: skip
        yield Fields(fields if each["row"] else [*fields, ("row", Cell("it isn't in the index", WARNING))])
        yield Table(
            (Column("until"), *numbers("size"), Column("digest")),
            [[local(old["until"]), size(old["size"]), telling.content_text(old)] for old in each["versions"]],
            "Before",
        )
        yield changes_table(each["changes"], "Changes")


@click.command(
    short_help="Find files by content.",
    epilog=examples("filewatchctl index find 2c26b46b68ffc68ff99b453c1d304134", "filewatchctl index find --duplicates"),
)
@click.argument("digest", metavar="[HASH]", required=False)
@click.option("--duplicates", is_flag=True, help="Files with the same content, in groups, the largest first.")
@click.option("--least", type=click.IntRange(0), default=1, metavar="BYTES", show_default=True,
              help="Of --duplicates: only files of at least so many bytes.")  # fmt: skip
@with_json
def find(session: Session, digest: str | None, duplicates: bool, least: int) -> None:
    """Find the files with this hash, or those that have the same content. HASH may be its beginning (8 digits or more).

    With --json each file, or each group, is an object on a line.
    """
    if (digest is None) != duplicates:
        raise click.UsageError("Say a HASH or --duplicates.", click.get_current_context())
    with opened() as reader:
        any_found = False
        groups = reader.duplicates(least=least) if digest is None else [_with_digest(reader, digest)]
        for group in groups:
            documents = [telling.row(each.root, each.path, each.record) for each in group]
            any_found = any_found or bool(documents)
            if session.as_json:
                for line in [{"files": documents}] if duplicates else documents:
                    click.echo(to_line(line))
            elif documents:
                head = documents[0]
                click.echo(f"{telling.digest_text(head, 0)}  {size(head['size'])}")
                click.echo("".join(f"  {one_line(path_in(each))}\n" for each in documents), nl=False)
    if digest is not None and not any_found:
        raise click.ClickException(f"the index knows no file whose hash begins with {digest}")


def _with_digest(reader: Reader, digits: str) -> list[Found]:
    text = digits.partition(":")[2].lower() or digits.lower()
    if len(text) < 8 or len(text) > 128 or not set(text) <= set("0123456789abcdef"):
        raise click.UsageError("A HASH has 8 to 128 hexadecimal digits.", click.get_current_context())
    return reader.find(bytes.fromhex(text)) if len(text) in (64, 128) else reader.find_beginning(text)
