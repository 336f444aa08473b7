"""Kept versions of a rule's set: contents and sets by their digests, written once and never changed. Blocking.

``<state_dir>/versions/RULE/`` has ``blobs/ab/abcdef...`` for what is in files, ``sets/DIGEST`` for sets (deflated
text), and ``record.json`` for what became of them (`record`).
A file gets its name when all of it is on the disk, so whatever
has a name is whole. Readers check it against its name all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Sequence

from filewatchd.actions.reload.entries import FILE, Entry, decode, digest_of
from filewatchd.errors import ActionError
from filewatchd.state.atomic import sync_directory

_TEMPORARY = ".tmp-"
_MOST_SYNCED = 8  # files synced one by one; more of them by one sync of their filesystem
_MOST_TEXT = 256 << 20  # bytes of a set's text


class Store:
    """The versions of one rule below ``directory``."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.blobs = f"{directory}/blobs"
        self.sets = f"{directory}/sets"

    def prepare(self) -> None:
        """Make the directories, and remove what a crash left half-written.

        Raises:
            OSError: they can't be made.
        """
        for directory in (os.path.dirname(self.directory), self.directory, self.blobs, self.sets):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        for directory in (self.blobs, self.sets):
            for name in os.listdir(directory):
                if name.startswith(_TEMPORARY):
                    os.unlink(f"{directory}/{name}")

    # ---- writing

    def put(self, contents: Sequence[bytes]) -> list[str]:
        """Keep contents; returns the SHA-256 of each. They survive power loss when this returns."""
        names = [hashlib.sha256(data).hexdigest() for data in contents]
        fresh = {name: data for name, data in zip(names, contents, strict=True) if not os.path.exists(self.blob(name))}
        if fresh:
            self._write(self.blobs, [(self.blob(name), data) for name, data in fresh.items()])
        return names

    def put_set(self, text: bytes) -> str:
        """Keep a set, all of whose contents are kept; returns its digest. It survives power loss."""
        digest = digest_of(text)
        if not os.path.exists(f"{self.sets}/{digest}"):
            self._write(self.sets, [(f"{self.sets}/{digest}", zlib.compress(text, 1))])
        return digest

    def _write(self, beside: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Make files of which each has its name only when it is on the disk: with two syncs, however many they are."""
        temporary = f"{beside}/{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            for number, (_, data) in enumerate(files):
                write_new(f"{temporary}.{number}", data, sync=len(files) < _MOST_SYNCED)
            if len(files) >= _MOST_SYNCED:
                sync_filesystem(beside)
            folders = {os.path.dirname(path) for path, _ in files}
            for folder in [folder for folder in folders if not os.path.isdir(folder)]:
                os.mkdir(folder, 0o700)
                folders.add(beside)
            for number, (path, _) in enumerate(files):
                os.rename(f"{temporary}.{number}", path)
        finally:
            for number in range(len(files)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{temporary}.{number}")
        if len(files) >= _MOST_SYNCED:
            sync_filesystem(beside)
            return
        for folder in folders:
            sync_directory(folder)

    # ---- reading

    def blob(self, content: str) -> str:
        """Where a content is."""
        return f"{self.blobs}/{content[:2]}/{content}"

    def content(self, entry: Entry) -> bytes:
        """What is in a file of a set.

        Raises:
            ActionError: it is missing or damaged.
        """
        try:
            with open(self.blob(entry.content), "rb") as file:
                data = file.read()
        except OSError as error:
            raise ActionError(f"a kept content can't be read: {error}", retryable=False) from error
        if hashlib.sha256(data).hexdigest() != entry.content:
            raise ActionError(f"{self.blob(entry.content)} is damaged: its name isn't its digest", retryable=False)
        return data

    def load(self, digest: str) -> dict[str, Entry]:
        """A kept set.

        Raises:
            ActionError: it is missing or damaged.
        """
        try:
            with open(f"{self.sets}/{digest}", "rb") as file:
                text = zlib.decompressobj().decompress(file.read(), _MOST_TEXT)
            if digest_of(text) != digest:
                raise ValueError("its name isn't its digest")
            return decode(text)
        except (OSError, ValueError, zlib.error) as error:
            raise ActionError(f"the kept version {digest[:12]} can't be read: {error}", retryable=False) from error

    # ---- forgetting

    def prune(self, kept: Iterable[str], contents: Iterable[str] = ()) -> int:
        """Remove all sets but these, and contents that none of these has, nor are named. Returns how many sets went."""
        keep, there = set(kept), set(os.listdir(self.sets))
        gone = [name for name in there if name not in keep and not name.startswith(_TEMPORARY)]
        if not gone:
            return 0
        needed = {
            entry.content for digest in keep & there for entry in self.load(digest).values() if entry.kind == FILE
        }
        needed.update(contents)
        for name in gone:
            os.unlink(f"{self.sets}/{name}")
        for folder in os.listdir(self.blobs):
            if len(folder) == 2:
                for name in os.listdir(f"{self.blobs}/{folder}"):
                    if name not in needed:
                        os.unlink(f"{self.blobs}/{folder}/{name}")
        return len(gone)


def adopt(directory: str, former: str) -> None:
    """A renamed rule takes its former versions over, unless it has some."""
    if not os.path.exists(directory) and os.path.isdir(former):
        with contextlib.suppress(OSError):
            os.rename(former, directory)


def discard(directory: str) -> None:
    """Remove a tree of ours, whatever of it is there."""
    shutil.rmtree(directory, ignore_errors=True)


def write_new(path: str, data: bytes, *, sync: bool) -> None:
    """A new file, perhaps synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def sync_filesystem(directory: str) -> None:
    """Have all that was written to a directory's filesystem on the disk: syncfs(2)."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
    finally:
        os.close(fd)
