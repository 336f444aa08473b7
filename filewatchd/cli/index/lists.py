"""``filewatchctl index export, import, check``: lists of checksums, out of the index, into it, and against files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index.opening import (
    Scope,
    absolute,
    is_below,
    kept,
    of_rule,
    opened,
    rules_in,
    said_argument,
    scopes,
)
from filewatchd.cli.options import Rule, examples, with_json
from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING, Block, Cell, Lines, Text
from filewatchd.cli.text import number, path_in
from filewatchd.control.places import action_place
from filewatchd.errors import FatalError
from filewatchd.notation import one_line, path_fields

if TYPE_CHECKING:
    from filewatchd.actions.checksum.formats import Bad, Entry
    from filewatchd.state.index.reading import Reader
    from filewatchd.state.index.rows import Record

FORMATS = ("sha256sum", "bsd", "hashdeep", "json", "csv")
ALGORITHMS = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake3")
_SHOWN = 100  # of each kind of finding
_AT_ONCE = 1000  # files in one request

# ---- export


@click.command(
    short_help="Write a list of checksums.",
    epilog=examples(
        "filewatchctl index export releases > SHA256SUMS && sha256sum -c SHA256SUMS",
        "filewatchctl index export /srv/releases --relative --format bsd",
    ),
)
@said_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="sha256sum", show_default=True,
              help="What the list looks like.")  # fmt: skip
@click.option("--relative", is_flag=True, help="Paths relative to the root, of which there may then be only one.")
@click.option("--algorithm", type=click.Choice(ALGORITHMS[2:]), help="Only rows of this algorithm.")
@click.option("-z", "--zero", is_flag=True, help="End lines with NUL, not newline, and escape no names.")
@with_json
def export(session: Session, said: str | None, form: str, relative: bool, algorithm: str | None, zero: bool) -> None:
    """Write a list of the files that are known, at or below PATH or of RULE, as sha256sum -c and others read it.

    What waits for approval is listed as the index expects it. --json is --format json; json and csv have a type, and
    with it the symlinks and directories that have rows.
    """
    from filewatchd.actions.checksum.formats import FormatError, write

    form = "json" if session.as_json else form
    with opened() as reader:
        found = scopes(reader, said)
        if relative and len(found) != 1:
            raise click.UsageError("--relative needs one root; say its path.", click.get_current_context())
        if form in ("sha256sum", "hashdeep") and algorithm is None:
            _one_algorithm(reader, found, form)
        out = sys.stdout.buffer
        try:
            entries = _entries(reader, found, algorithm, relative=relative, every=form in ("json", "csv"))
            for piece in write(entries, cast(Any, form), zero=zero):
                out.write(_harmless(piece) if out.isatty() else piece)
        except FormatError as error:
            raise click.ClickException(str(error)) from error
        out.flush()


def _harmless(piece: bytes) -> bytes:
    """Lines for a terminal, which a name must not steer: a file or a pipe gets the list as it is."""
    lines = piece.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join(map(one_line, lines)).encode()


def _one_algorithm(reader: Reader, found: Sequence[Scope], form: str) -> None:
    mixed = {name for scope in found for name in reader.summary(scope.root.id).algorithms if name}
    if len(mixed) > 1:
        names = " and ".join(sorted(mixed))
        text = f"There are rows of {names}, and --format {form} has but one; say --algorithm, or --format bsd."
        raise click.UsageError(text, click.get_current_context())


def _entries(
    reader: Reader, found: Iterable[Scope], algorithm: str | None, *, relative: bool, every: bool
) -> Iterator[Entry]:
    """What is known, of files alone unless ``every`` kind is to be listed."""
    from filewatchd.actions.checksum.formats import Entry
    from filewatchd.state.index.rows import Type

    for scope in found:
        alone = reader.row(scope.root.id, scope.path) if scope.path else None
        rows = [(scope.path, alone)] if alone is not None else reader.rows(scope.root.id, scope.path)
        for path, record in rows:
            name = os.fsencode(_named(scope.root.root, path, relative=relative))
            if record.digest is not None and algorithm in (None, record.algorithm) and (every or _is_file(record)):
                size, target = record.identity.size, record.attributes.target
                yield Entry(name, record.algorithm, record.digest, size, type=record.type.value, target=target)
            elif every and algorithm is None and record.type is Type.DIRECTORY:
                yield Entry(name, "", b"", type=record.type.value)


def _is_file(record: Record) -> bool:
    return record.type.value == "file"


def _named(root: str, path: str, *, relative: bool) -> str:
    if not relative:
        return absolute(root, path)
    name = path or os.path.basename(root)
    return f"./{name}" if name == "-" else name  # which is standard input to sha256sum


# ---- reading lists


@contextmanager
def listed(path: str) -> Iterator[BinaryIO]:
    """A list's bytes; ``-`` is standard input."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FatalError(f"{path} can't be read: {error.strerror}") from error
    with file:
        yield file


def _reading(command: Any) -> Any:
    for option in (
        click.option("--algorithm", type=click.Choice(ALGORITHMS),
                     help="Of lines that don't say it; otherwise by the digest's length."),
        click.option("--format", "form", type=click.Choice(FORMATS), help="What the list is, if not as it looks."),
        click.option("--base", type=click.Path(), default=".", metavar="DIR",
                     help="Relative paths in the list start here (default: the working directory)."),
        click.argument("file", type=click.Path(), metavar="FILE"),
    ):  # fmt: skip
        command = option(command)
    return command


def _bad(found: Bad) -> dict[str, Any]:
    return {"line": found.line, "why": found.why}


# ---- import


@click.command(
    "import", short_help="Take a list over.", epilog=examples("filewatchctl index import SHA256SUMS --dry-run")
)
@_reading
@click.option(
    "--rule", type=Rule(), metavar="RULE", help="Into this rule's index (default: into all that have a file)."
)
@click.option("--dry-run", is_flag=True, help="Only compare.")
@with_json
def import_(
    session: Session, file: str, base: str, form: str | None, algorithm: str | None, rule: str | None, dry_run: bool
) -> int:
    """Take the digests of a list that was made elsewhere as what the index expects.

    A file that isn't what the list says is a finding at the next full verify. Exit code 3: the index knew another
    digest of some, or doesn't know some at all. A list with a line that can't be read isn't taken.
    """
    from filewatchd.actions.checksum.formats import Bad, Entry, FormatError, read

    with listed(file) as stream:
        try:
            reading = read(stream, format=cast(Any, form), algorithm=algorithm)
            found = list(reading.entries)
        except FormatError as error:
            raise click.ClickException(f"{file}: {error}") from error
    bad = [each for each in found if isinstance(each, Bad)]
    if bad:
        raise click.ClickException(f"{file}:{bad[0].line}: {bad[0].why}; nothing was taken")
    entries = [each for each in found if isinstance(each, Entry)]
    with opened(None if dry_run else session) as reader:
        rules = rules_in(of_rule(reader, rule))
        _unambiguous(reader, entries)
        if rule is None and not dry_run:
            rules = [name for name in kept(session) if name in rules]
        places = {root.root: root.rule for root in reader.roots(rule)}
    document: dict[str, Any] = {"same": 0, "taken": 0, "unfit": 0, "differ": [], "unknown": [], "notes": reading.notes}
    wanted = [(os.path.normpath(os.path.join(os.path.abspath(base), os.fsdecode(each.path))), each) for each in entries]
    for name in rules:
        mine = [(path, each) for path, each in wanted if _holds(places, name, path)]
        _import(session, name, mine, document, dry_run=dry_run)
    held = {path for path, _ in wanted if any(_holds(places, name, path) for name in rules)}
    document["unknown"] += [path_fields("path", path) for path, _ in wanted if path not in held]
    session.tell(document, imported)
    return 3 if document["differ"] or document["unknown"] else 0


def _unambiguous(reader: Reader, entries: Sequence[Entry]) -> None:
    """See that no digest may be of another algorithm than it is taken for: nothing here could tell that it is wrong."""
    from filewatchd.actions.checksum.formats import LIKE

    guessed = {entry.algorithm for entry in entries if entry.guessed}
    unsure = guessed & {"sha512"}  # b2sum's are as common
    if "sha256" in guessed and reader.has_algorithm(LIKE["sha256"]):
        unsure |= {"sha256"}
    if unsure:
        both = " or ".join((min(unsure), LIKE[min(unsure)]))
        raise click.UsageError(f"The list may be of {both}; say --algorithm.", click.get_current_context())


def _holds(places: Mapping[str, str], rule: str, path: str) -> bool:
    return any(name == rule and is_below(path, root.rstrip("/")) for root, name in places.items())


def _import(
    session: Session, rule: str, wanted: Sequence[tuple[str, Entry]], document: dict[str, Any], *, dry_run: bool
) -> None:
    place = action_place("checksum", "import", acts=True)
    for start in range(0, len(wanted), _AT_ONCE):
        files = [
            {**path_fields("path", path), "algorithm": each.algorithm, "digest": each.digest.hex()}
            for path, each in wanted[start : start + _AT_ONCE]
        ]
        answer = session.ask(place, {"rule": rule, "files": files, "dry_run": dry_run or None}, timeout=None)
        for name in ("same", "taken", "unfit", "differ", "unknown"):
            document[name] += answer[name]


def imported(document: Mapping[str, Any]) -> Sequence[Block]:
    """What became of the list."""
    figures = (document["same"], document["taken"], len(document["differ"]))
    lines: list[Text] = ["{:,} as the index has them, {:,} taken over, {:,} differ".format(*figures)]
    if document["unfit"]:
        lines.append(Cell(f"{document['unfit']:,} left out: an index is made of {', '.join(ALGORITHMS[2:])}", WARNING))
    lines += [Cell(note, FAINT) for note in document["notes"]]
    differ = [Cell(path_in(each), BAD) for each in document["differ"][:_SHOWN]]
    unknown = [Cell(path_in(each), WARNING) for each in document["unknown"][:_SHOWN]]
    return [Lines(lines), Lines(differ, "The index had another digest"), Lines(unknown, "The index doesn't know")]


# ---- check


@click.command(
    short_help="Hold files against a list.",
    epilog=examples(
        "filewatchctl index check SHA256SUMS", "filewatchctl index check backup.hashdeep --base /mnt/backup"
    ),
)
@_reading
@with_json
def check(session: Session, file: str, base: str, form: str | None, algorithm: str | None) -> int:
    """Hold files against a list of sha256sum, BSD or hashdeep, md5 and sha1 too. Exit code 3: something is otherwise.

    It asks neither index nor daemon. `-` reads the list from standard input.
    """
    from filewatchd.actions.checksum.formats import FormatError, read
    from filewatchd.cli.index.checking import check as checked

    with listed(file) as stream:
        try:
            reading = read(stream, format=cast(Any, form), algorithm=algorithm)
            found = checked(reading.entries, os.path.abspath(base))
        except FormatError as error:
            raise click.ClickException(f"{file}: {error}") from error
    if not found.files:
        why = f"; line {found.bad[0].line}: {found.bad[0].why}" if found.bad else ""
        raise click.ClickException(f"{file}: there is no checksum in it{why}")
    document = {
        "files": found.files, "ok": found.ok, "bytes": found.bytes, "algorithms": sorted(found.algorithms),
        "findings": [
            {**path_fields("path", os.fsdecode(each.path)), "line": each.line, "found": each.found}
            for each in found.findings
        ],
        "bad_lines": [_bad(each) for each in found.bad], "notes": reading.notes,
    }  # fmt: skip
    if all(each.found == "missing" for each in found.findings) and not found.ok:
        document["notes"] = [*reading.notes, f"names start at {os.path.abspath(base)}; --base names another directory"]
    session.tell(document, checked_page)
    return 3 if document["findings"] or document["bad_lines"] else 0


def checked_page(document: Mapping[str, Any]) -> Sequence[Block]:
    """What is otherwise than the list says."""
    findings = [Cell(f"{path_in(each)}: {each['found']}", BAD) for each in document["findings"]]
    bad = [Cell(f"line {each['line']}: {each['why']}", WARNING) for each in document["bad_lines"][:_SHOWN]]
    weak = [name for name in document["algorithms"] if name in ("md5", "sha1")]
    notes: list[Text] = [Cell(note, FAINT) for note in document["notes"]]
    if weak:
        notes.append(
            Cell(
                f"{' and '.join(weak)} {'tell' if weak[1:] else 'tells'} of accidents, not of somebody who means harm",
                FAINT,
            )
        )
    otherwise = len(document["findings"])
    end = f"{number(document['files'], 'file')}: {document['ok']:,} ok, {otherwise:,} otherwise"
    return [
        Lines(findings),
        Lines(bad, "Lines that can't be read"),
        Lines([*notes, Cell(end, BAD if otherwise else GOOD)]),
    ]
