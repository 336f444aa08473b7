"""Taking a list of checksums that was made elsewhere into the index.

The list's digest becomes the row's; everything else of the row stays, and it counts as never verified. So the next full
verify reads the file, and says `corrupt` of one that isn't what the list says: content differs, and nothing tells why.
Rows of another algorithm take the list's over, too: `checksum` reads by both and goes back to the rule's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from filewatchd.actions.checksum.documents import Import, Imported, Line, Named
from filewatchd.actions.checksum.formats.entry import DIGEST_SIZES, STRONG
from filewatchd.errors import ActionError
from filewatchd.notation import path_fields
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Record, Root, Type
from filewatchd.state.index.writing import Index


class Listed(NamedTuple):
    """A line of a list, where the index has its file."""

    line: Line
    root: Root
    path: str
    row: Record
    digest: bytes


def take(index: Index, rule: str, asked: Import) -> Imported:
    """Compare a part of a list with a rule's rows, and take over what is other there."""
    lines = [line for line in asked.files if line.algorithm in STRONG]
    unknown: list[str] = []
    with Reader(index.path) as reader:
        known = list(_known(reader, rule, lines, unknown))
    same: list[Listed] = []
    taken: list[Listed] = []
    differ: list[Listed] = []
    for each in known:
        if (each.row.algorithm, each.row.digest) == (each.line.algorithm, each.digest):
            same.append(each)
        else:
            (differ if each.row.algorithm == each.line.algorithm else taken).append(each)
    if not asked.dry_run:
        _write(index, [*taken, *differ])
    return Imported(
        same=len(same),
        taken=len(taken),
        differ=[named(each.line.where) for each in differ],
        unknown=list(map(named, unknown)),
        unfit=len(asked.files) - len(lines),
    )


def named(path: str) -> Named:
    """A path as an answer has it."""
    return Named(**path_fields("path", path))


def _known(reader: Reader, rule: str, lines: Iterable[Line], unknown: list[str]) -> Iterator[Listed]:
    for line in lines:
        digest = _digest(line)
        places = reader.located(line.where, rule)
        found = [(root, path, row) for root, path in places if (row := _row(reader, root, path)) is not None]
        if not found:
            unknown.append(line.where)
        yield from (Listed(line, root, path, row, digest) for root, path, row in found)


def _row(reader: Reader, root: Root, path: str) -> Record | None:
    row = reader.row(root.id, path)
    return row if row is not None and row.type is Type.FILE else None


def _digest(line: Line) -> bytes:
    try:
        digest = bytes.fromhex(line.digest)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZES[line.algorithm]:
        raise ActionError(f"{line.where}: that is no digest of {line.algorithm}", retryable=False)
    return digest


def _write(index: Index, listed: Iterable[Listed]) -> None:
    with index.edit(durable=True) as edit:
        for each in listed:
            record = each.row._replace(algorithm=each.line.algorithm, digest=each.digest, verified=0)
            edit.put(each.root.id, each.path, record)
