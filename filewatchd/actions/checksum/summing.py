"""The checksum file in the root, which `sha256sum -c` reads: made anew beside the old one, then put in its place.

It is written with the rule's rights, piece by piece, while the rows are read with the daemon's.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress

from filewatchd.actions.checksum.formats import write
from filewatchd.actions.checksum.formats.entry import Entry
from filewatchd.model import FileIdentity
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Type, encode, split
from filewatchd.work.opening import open_directory

_PIECE = 4 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def begin(root: str, relative: str) -> str:
    """Make the new file; returns its name.

    Raises:
        OSError, ActionError: the directory isn't there, or can't be written.
    """
    directory, name = split(relative)
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    folder = open_directory(root, directory)
    try:
        _clean(folder, name)
        os.close(os.open(temporary, _NEW, 0o644, dir_fd=folder))
    finally:
        os.close(folder)
    return temporary


def _clean(folder: int, name: str) -> None:
    """Remove what a kill has left."""
    ours = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{16}\.tmp")
    with os.scandir(folder) as entries:
        left = [entry.name for entry in entries if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    for each in left:
        with suppress(FileNotFoundError):
            os.unlink(each, dir_fd=folder)


def append(root: str, relative: str, temporary: str, data: bytes) -> None:
    """Add to the new file."""
    folder = open_directory(root, split(relative)[0])
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
        finally:
            os.close(fd)
    finally:
        os.close(folder)


def finish(root: str, relative: str, temporary: str) -> FileIdentity:
    """Put the new file in the old one's place, durably; returns what it is then."""
    directory, name = split(relative)
    folder = open_directory(root, directory)
    try:
        fd = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(fd)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
            found = os.fstat(fd)
        finally:
            os.close(fd)
    finally:
        os.close(folder)
    return FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def discard(root: str, relative: str, temporary: str) -> None:
    """It came to nothing."""
    with suppress(OSError):
        folder = open_directory(root, split(relative)[0])
        try:
            os.unlink(temporary, dir_fd=folder)
        finally:
            os.close(folder)


class Pieces:
    """The lines, as the index has them, in pieces of some megabytes; `next` is called in pool threads."""

    def __init__(self, index: str, root: int, algorithm: str, relative: str) -> None:
        self._reader = Reader(index)
        rows = self._reader.rows(root)
        entries = (
            Entry(encode(path), algorithm, record.digest)
            for path, record in rows
            if record.digest is not None
            and record.algorithm == algorithm
            and record.type is Type.FILE
            and path not in ("", relative)
        )
        self._lines = write(entries, "sha256sum")

    def next(self) -> bytes:
        """The next piece; empty at the end."""
        piece = bytearray()
        for line in self._lines:
            piece += line
            if len(piece) >= _PIECE:
                break
        return bytes(piece)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
