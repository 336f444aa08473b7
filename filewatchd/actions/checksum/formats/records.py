"""Lists for programs: an object of JSON on each line, or rows of CSV under a header.

Text is UTF-8. A path that isn't has U+FFFD in it, and its bytes in ``path_b64``, as in all of our JSON. Where lists are
read, only their files are.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from filewatchd.actions.checksum.formats.entry import DIGEST_SIZES, MAX_NAME, Bad, Entry, digest_of, fits
from filewatchd.actions.checksum.formats.lines import lines
from filewatchd.notation import path_fields

COLUMNS = ("path", "path_b64", "algorithm", "digest", "size", "type", "target", "target_b64")
_MISSING = "it has no `path`, or neither UTF-8 nor `path_b64`"


def fields(entry: Entry) -> dict[str, Any]:
    """What a list says of a file."""
    size = {} if entry.size is None else {"size": entry.size}
    path = path_fields("path", os.fsdecode(entry.path))
    target = {} if entry.target is None else path_fields("target", os.fsdecode(entry.target))
    digest = {"algorithm": entry.algorithm, "digest": entry.digest.hex()} if entry.digest else {}
    return {**path, **digest, **size, "type": entry.type, **target}


def json_line(entry: Entry) -> bytes:
    """An object on a line."""
    return json.dumps(fields(entry), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_json(stream: BinaryIO) -> Iterator[Entry | Bad]:
    """Objects, one on each line; what they hold besides is left alone."""
    for number, text in lines(stream):
        if text is None:
            yield Bad(number, "the line is too long")
        elif text.strip() and (found := _parsed(text, number)) is not None:
            yield found


def _parsed(text: bytes, number: int) -> Entry | Bad | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Bad(number, f"it isn't JSON: {error}")
    return _entry(found, number) if isinstance(found, dict) else Bad(number, "it is no object")


def csv_header() -> bytes:
    """The names of the columns."""
    return _csv(COLUMNS)


def csv_line(entry: Entry) -> bytes:
    """A row."""
    found = fields(entry)
    return _csv(str(found.get(name, "")) for name in COLUMNS)


def _csv(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def read_csv(stream: BinaryIO) -> Iterator[Entry | Bad]:
    """Rows under a header that names at least ``path``, ``algorithm`` and ``digest``."""
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
    rows = csv.reader(_bounded(text))
    try:
        names = next(rows, [])
        if missing := [name for name in ("path", "algorithm", "digest") if name not in names]:
            yield Bad(1, f"the header doesn't name {', '.join(missing)}")
            return
        for row in rows:
            if row and (found := _entry(dict(zip(names, row, strict=False)), rows.line_num)) is not None:
                yield found
    except csv.Error as error:
        yield Bad(rows.line_num, f"it isn't CSV: {error}; what follows isn't read")
    finally:
        text.detach()


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(csv.field_size_limit()):
        yield line


def _entry(found: Mapping[str, Any], number: int) -> Entry | Bad | None:
    """What a line says of a file; None if it is of something else."""
    if found.get("type", "file") not in ("file", ""):
        return None
    path, algorithm = _path(found), str(found.get("algorithm"))
    digest = digest_of(str(found.get("digest")).encode("ascii", "replace"))
    if path is None:
        return Bad(number, _MISSING)
    if algorithm not in DIGEST_SIZES:
        return Bad(number, f"the algorithm {algorithm[:40]} isn't one that can be checked")
    if digest is None or not fits(algorithm, digest):
        return Bad(number, f"its `digest` is none of {algorithm}")
    size = str(found.get("size", ""))
    return Entry(path, algorithm, digest, int(size) if size.isdecimal() and len(size) < 20 else None, number)


def _path(found: Mapping[str, Any]) -> bytes | None:
    encoded, text = found.get("path_b64"), found.get("path")
    try:
        path = base64.b64decode(encoded, validate=True) if encoded else os.fsencode(text) if text else b""
    except (ValueError, TypeError):
        return None
    return path if path and len(path) <= MAX_NAME and b"\0" not in path else None
