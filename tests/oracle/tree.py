"""What the operations do to a tree. Run as a program it is one of the processes that work on it at once.

    python -I -S tree.py ROOT < OPERATIONS      lists of [name, arguments], in JSON, one a line

An operation that can't be done does nothing: its file isn't there, or another process was quicker.

One thing is kept from happening, because it is beyond the promise (docs/explanation): a file with several names is
never written through a name that no rule watches, for inotify tells only of the name that was used.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FLOOD = 6000  # files made and removed in one go: more events than the kernel queues for a daemon that is stalled
INCLUDE, EXCLUDE = "f*", "skip/"  # the rule's patterns, which `matches` knows too
_RENAME_EXCHANGE = 2  # renameat2(2)
_AT_FDCWD = -100
_UNLINKED = " (deleted)"  # what /proc adds to the path of a descriptor whose name is gone, proc(5)


def matches(path: str) -> bool:
    """Whether the rule's patterns select this path, relative to the root."""
    *directories, name = path.split("/")
    return name.startswith("f") and not {"skip", ".."} & set(directories)


class Tree:
    """The tree below ``root``. Files that are held open stay so until they are let go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: list[int] = []
        self._libc = ctypes.CDLL(None, use_errno=True)

    def do(self, name: str, arguments: Sequence[str | float]) -> None:
        """Do one, or nothing where it can't be done."""
        work: Callable[..., None] = getattr(self, name)
        try:
            work(*arguments)
        except (OSError, shutil.Error):
            return

    def pause(self, seconds: float) -> None:
        """The pace of whoever works on the tree."""
        time.sleep(seconds)

    def tell(self) -> None:
        """Let go, and say that all so far is done."""
        self.let_go()
        print(flush=True)

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path)

    # ---- files

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        descriptor = os.open(self._at(path), os.O_WRONLY | flags, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, content: str, *, whole: bool = False) -> None:
        """Write, unless nobody could know of it. ``whole``: it is all that the file has then."""
        if self._seen(descriptor):
            if whole:
                os.ftruncate(descriptor, 0)
            os.write(descriptor, content.encode())

    def _seen(self, descriptor: int) -> bool:
        """False if the name by which the file was opened is unwatched now, and the file has other names."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        unlinked = path.endswith(_UNLINKED)
        if not unlinked and matches(os.path.relpath(path, self.root)):
            return True
        return os.fstat(descriptor).st_nlink == (0 if unlinked else 1)

    def create(self, path: str, content: str) -> None:
        os.makedirs(os.path.dirname(self._at(path)), exist_ok=True)
        with self._opened(path, os.O_CREAT) as descriptor:
            self._write(descriptor, content, whole=True)

    def replace(self, path: str, beside: str, content: str) -> None:
        """As editors save: a new file, renamed over the old one."""
        self.create(beside, content)
        os.rename(self._at(beside), self._at(path))

    def append(self, path: str, content: str) -> None:
        with self._opened(path, os.O_APPEND) as descriptor:
            self._write(descriptor, content)

    def write(self, path: str, content: str) -> None:
        """In place, and often of the same size as before."""
        with self._opened(path, 0) as descriptor:
            self._write(descriptor, content)

    def truncate(self, path: str) -> None:
        with self._opened(path, 0) as descriptor:
            if self._seen(descriptor):
                os.ftruncate(descriptor, 3)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new), follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(self._at(target), self._at(path))

    def exchange(self, one: str, other: str) -> None:
        first, second = os.fsencode(self._at(one)), os.fsencode(self._at(other))
        self._libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)

    def hold(self, path: str, content: str) -> None:
        """Write and stay open, as a slow writer does."""
        descriptor = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._held.append(descriptor)
        self._write(descriptor, content)

    def let_go(self) -> None:
        """The slow writers write their last and close."""
        while self._held:
            descriptor = self._held.pop()
            try:
                self._write(descriptor, ".")
            finally:
                os.close(descriptor)

    # ---- directories

    exchange_directories = exchange

    def rmtree(self, path: str) -> None:
        shutil.rmtree(self._at(path))

    def mkdirs(self, path: str) -> None:
        os.makedirs(self._at(path), exist_ok=True)

    def rename_directory(self, old: str, new: str) -> None:
        """Anywhere: across, into what is excluded, out of the root and back."""
        os.makedirs(os.path.dirname(self._at(new)), exist_ok=True)
        os.rename(self._at(old), self._at(new))

    def grow(self, path: str, content: str) -> None:
        """A fresh tree, filled at once, as an archive is unpacked."""
        for below in ("", "x", "x/x", "x/x/x"):
            self.create(os.path.join(path, below, "f0"), content + below)

    def flood(self) -> None:
        """More events than a stalled reader's queue takes."""
        self.mkdirs("flood")
        for number in range(FLOOD):
            path = self._at(f"flood/f{number}")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
            os.unlink(path)

    # ---- what it comes to

    def files(self) -> dict[str, os.stat_result]:
        """Every regular file that the rule's patterns select, by relative path."""
        found = {}
        for directory, names, files in os.walk(self.root):
            names[:] = [name for name in names if name != "skip"]
            for path in (os.path.join(directory, name) for name in files):
                inside = os.path.relpath(path, self.root)
                if matches(inside) and os.path.isfile(path) and not os.path.islink(path):
                    found[inside] = os.lstat(path)
        return found

    def contents(self) -> dict[str, str]:
        """The content of each of them."""
        return {path: Path(self._at(path)).read_text() for path in self.files()}


def main() -> None:
    """Do what standard input says until it ends, then let go of everything."""
    tree = Tree(Path(sys.argv[1]))
    for line in sys.stdin:
        for name, arguments in json.loads(line):
            tree.do(name, arguments)
    tree.let_go()


if __name__ == "__main__":
    main()
