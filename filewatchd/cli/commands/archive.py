"""``filewatchctl archive``: a log and all its archives as one, with a daemon or without."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.options import Since, examples, with_json
from filewatchd.notation import one_line

if TYPE_CHECKING:
    from filewatchd.actions.rotate.stream import Piece, Stream
    from filewatchd.cli.archives import Log
    from filewatchd.cli.page import Block

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NOTHING = 3
_STRANGERS = 3  # named


@click.group(
    short_help="Read a log with all its archives as one.",
    epilog=examples(
        "filewatchctl archive ls /var/log/app/app.log",
        "filewatchctl archive cat /var/log/app/app.log --since 2h",
        "filewatchctl archive grep -i 'time.?out' /var/log/app/app.log",
    ),
)
def archive() -> None:
    """Read a log: its archives, oldest first, and the live file, every line once, whatever rotates meanwhile.

    The ledger in the daemon's state directory is read, by who may read it; a daemon need not run. Who may not asks the
    daemon. Without both, and for logs that filewatchd hasn't rotated, the archives are found by their names
    (logrotate's, too), which is said.
    """


def _places(command: _Command) -> _Command:
    """What tells which log is meant."""
    for option in (
        click.argument("live", metavar="LIVE_PATH", type=click.Path(dir_okay=False)),
        click.option("--dir", "folders", multiple=True, type=click.Path(file_okay=False), metavar="DIR",
                     help="Look for archives here, too, where they are found by name."),
        click.option("--state-dir", type=click.Path(file_okay=False), metavar="DIR",
                     help="The daemon's state directory (default: the configuration's)."),
    ):  # fmt: skip
        command = option(command)
    return command


def _times(command: _Command) -> _Command:
    for option in (
        click.option("--until", type=Since(), metavar="WHEN", help="Only lines until then."),
        click.option("--since", type=Since(), metavar="WHEN", help="Only lines since then: 2h, 30m, or RFC 3339."),
    ):
        command = option(command)
    return command


_threads = click.option(
    "--threads", type=click.IntRange(1, 64), default=min(8, os.cpu_count() or 1), metavar="N",
    help="Decompress so many members at once (default: as many as there are processors).",
)  # fmt: skip


def _log(live: str, folders: tuple[str, ...], state_dir: str | None) -> Log:
    from filewatchd.cli.archives import find, from_daemon
    from filewatchd.cli.places import state_path

    here = click.get_current_context()
    session = here.find_object(Session)
    assert session is not None
    state = state_path(state_dir)
    return find(live, state, folders, partial(from_daemon, session))


@archive.command(short_help="List a log's archives.", epilog=examples("filewatchctl archive ls /var/log/app/app.log"))
@_places
@with_json
def ls(session: Session, live: str, folders: tuple[str, ...], state_dir: str | None) -> int:
    """List the archives of a log, oldest first, and the live file."""
    log = _log(live, folders, state_dir)
    _explain(log)
    document = {"live": log.path, "by_name": log.rows is None, "files": list(map(_row, log.parts()))}
    session.tell(document, _listing)
    return 0


def _row(part: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    from filewatchd.notation import path_fields

    def time(when_ns: int | None) -> str | None:
        return datetime.fromtimestamp(when_ns / 1e9, UTC).isoformat(timespec="microseconds") if when_ns else None

    try:
        size: int | None = os.stat(part.path, follow_symlinks=False).st_size
    except OSError:
        size = None
    kind = "live" if part.archive is None else "archive"
    times = {"first": time(part.first_ns), "last": time(part.last_ns)}
    return {**path_fields("path", part.path), "kind": kind, "codec": part.codec, "size": size, **times}


def _listing(document: Mapping[str, Any]) -> Iterator[Block]:
    from filewatchd.cli.page import Column, Table
    from filewatchd.cli.text import local, path_in, size

    columns = (Column("SIZE", right=True, whole=True), Column("CODEC", whole=True), Column("FROM", whole=True),
               Column("TO", whole=True), Column("PATH"))  # fmt: skip
    rows = [
        (
            "missing" if row["size"] is None else size(row["size"]),
            row["codec"],
            local(row["first"]) if row["first"] else "",
            local(row["last"]) if row["last"] else ("now" if row["kind"] == "live" else ""),
            path_in(row),
        )
        for row in document["files"]
    ]
    yield Table(columns, rows)


@archive.command(short_help="Print a log with its archives.", epilog=examples("filewatchctl archive cat app.log"))
@_places
@_times
@_threads
def cat(
    live: str, folders: tuple[str, ...], state_dir: str | None, since: str | None, until: str | None, threads: int
) -> int:
    """Print the archives of a log, oldest first, and the live file, as one.

    With --since and --until, lines are chosen by the times they begin with; lines without one go with the line before.
    """
    from filewatchd.cli.archives import stream
    from filewatchd.cli.linetimes import moment

    log = _log(live, folders, state_dir)
    _explain(log)
    low, high = moment(since) if since else None, moment(until) if until else None
    reading = stream(log, low, high, threads)
    out = sys.stdout.buffer
    sys.stdout.flush()
    with _progress(log, show=not sys.stdout.isatty()) as seen, closing(seen(iter(reading))) as pieces:
        for data in _chosen(pieces, low, high):
            out.write(data)
    out.flush()
    return _complete(reading)


def _chosen(pieces: Iterator[Piece], since: float | None, until: float | None) -> Iterator[bytes]:
    from filewatchd.cli.archives import bounded
    from filewatchd.cli.linetimes import between

    if since is None and until is None:
        return (piece.data for piece in pieces)
    return between(bounded(pieces), since, until)


@archive.command(
    short_help="Search a log with its archives.",
    epilog="Exit codes: 0 a line was found, 3 none was, 1 a file is missing or damaged; others as everywhere.\n\n"
    + examples("filewatchctl archive grep -F 'id=42 ' /var/log/app/app.log --since 2026-11-01"),
)
@click.argument("pattern", metavar="PATTERN")
@_places
@click.option("-F", "--fixed-strings", "fixed", is_flag=True, help="PATTERN is plain text.")
@click.option("-i", "--ignore-case", is_flag=True, help="Upper and lower case are the same.")
@click.option("-v", "--invert-match", "invert", is_flag=True, help="The lines that don't match.")
@click.option("-c", "--count", "only_count", is_flag=True, help="Print only how many lines there are.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; end at the first line.")
@click.option("-m", "--max-count", type=click.IntRange(1), metavar="N", help="End after so many lines.")
@_times
@_threads
def grep(
    pattern: str,
    live: str,
    folders: tuple[str, ...],
    state_dir: str | None,
    since: str | None,
    until: str | None,
    threads: int,
    only_count: bool,
    quiet: bool,
    max_count: int | None,
    **how: bool,
) -> int:
    """Print the lines that match PATTERN, a regular expression of Python's, oldest first.

    A line of more than 16 MiB is taken as several of 16 MiB.
    """
    from itertools import islice

    from filewatchd.cli.archives import processes, stream
    from filewatchd.cli.linetimes import moment
    from filewatchd.cli.searching import Query, Searcher

    query = Query(pattern, **how)
    try:
        searcher = Searcher(query)
    except re.error as error:
        raise click.BadParameter(f"{error}; with -F it is plain text", param_hint="PATTERN") from error
    log = _log(live, folders, state_dir)
    _explain(log)
    low, high = moment(since) if since else None, moment(until) if until else None
    timed = low is not None or high is not None
    out, count = sys.stdout.buffer, 0
    sys.stdout.flush()
    with processes(1 if timed else threads, query) as whole:
        reading = stream(log, low, high, threads, whole)
        with _progress(log, show=not sys.stdout.isatty()) as seen, closing(seen(iter(reading))) as pieces:
            for line in islice(_found(searcher, pieces, low, high, timed), 1 if quiet else max_count):
                count += 1
                if not (quiet or only_count):
                    out.write(line if line.endswith(b"\n") else line + b"\n")
    if only_count and not quiet:
        out.write(b"%d\n" % count)
    out.flush()
    return _complete(reading) or (0 if count else _NOTHING)


def _found(
    searcher: Any, pieces: Iterator[Piece], since: float | None, until: float | None, timed: bool
) -> Iterator[bytes]:
    from filewatchd.cli.archives import bounded
    from filewatchd.cli.linetimes import between
    from filewatchd.cli.searching import joined

    if timed:
        return filter(searcher.matches, between(bounded(pieces), since, until))
    return joined(searcher, (piece.made or searcher.search(piece.data) for piece in pieces))


# ---- what is said besides


def _explain(log: Log) -> None:
    """Say it where names had to do, and what is left out by its name."""
    if log.rows is None:
        note = "after a rotation that was cut off, lines may be missing or come twice"
        click.echo(f"filewatchctl: archives are found by their names ({one_line(log.why)}); {note}", err=True)
    for path in log.strangers[:_STRANGERS]:
        note = "it is younger than our first archive, and not ours: does another program, such as logrotate, rotate it?"
        click.echo(f"filewatchctl: {one_line(path)} isn't shown: {note}", err=True)
    if len(log.strangers) > _STRANGERS:
        click.echo(f"filewatchctl: and {len(log.strangers) - _STRANGERS} more", err=True)


def _complete(reading: Stream) -> int:
    """Say what is missing."""
    for path, why in reading.missing:
        click.echo(f"filewatchctl: {one_line(path)}: {one_line(why)}; its lines are missing here", err=True)
    return 1 if reading.missing else 0


_Seen = Callable[[Iterator["Piece"]], Any]


@contextmanager
def _progress(log: Log, *, show: bool) -> Iterator[_Seen]:
    """A bar on standard error, if a person waits there for something long."""
    if not show or not sys.stderr.isatty():
        yield _passed
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    sizes = {row["path"]: row["size"] or 0 for row in map(_row, log.parts())}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=sum(sizes.values()))

        def seen(pieces: Iterator[Piece]) -> Iterator[Piece]:
            now = ""
            for piece in pieces:
                if piece.part.path != now:
                    bar.advance(task, sizes.get(now, 0))
                    now = piece.part.path
                    bar.update(task, description=one_line(os.path.basename(now)))
                yield piece

        yield seen


def _passed(pieces: Iterator[Piece]) -> Iterator[Piece]:
    yield from pieces
