"""Random edits of a tree, the same for the same seed."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections import Counter
from collections.abc import Callable

_OWNERS = (0, 1, 33, 65534)


class Edits:
    """Edits the files below ``root``; ``done`` counts them by kind."""

    def __init__(self, root: str, seed: int) -> None:
        self._root = os.fsencode(root)
        self._chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.log: list[str] = []
        self._kinds: list[tuple[int, Callable[[bytes], object]]] = [
            (10, self.rewrite), (8, self.same_size), (6, self.append), (3, self.truncate), (6, self.touch),
            (8, self.chmod), (5, self.chown), (5, self.xattr), (10, self.rename), (4, self.rename_over),
            (2, self.rename_directory), (8, self.delete), (8, self.create), (5, self.link), (3, self.to_symlink),
            (2, self.to_directory), (5, self.put_back), (4, self.made_anew), (5, self.saved), (3, self.copied),
        ]  # fmt: skip
        self._weights = [weight for weight, _ in self._kinds]
        self._number = 0
        self._aimed = b""  # the other name of the edit under way

    def apply(self, count: int) -> None:
        """Make so many edits."""
        files, folders = self._walked()
        self._files, self._folders = files, folders
        made = 0
        while made < count:
            edit = self._chance.choices([edit for _, edit in self._kinds], self._weights)[0]
            path = self._chance.choice(self._files)
            if not os.path.lexists(path) or not stat.S_ISREG(os.lstat(path).st_mode):
                self._files.remove(path)
                continue
            self._aimed = b""
            try:
                if edit(path) is False:
                    continue
            except OSError as error:
                if error.errno not in (2, 20, 39, 22):  # its directory has moved
                    raise
                continue
            self.done[edit.__name__] += 1
            self.log.append(f"{edit.__name__} {path!r} {self._aimed!r}")
            made += 1

    def _walked(self) -> tuple[list[bytes], list[bytes]]:
        files, folders = [], []
        for directory, below, names in os.walk(self._root):
            below.sort()
            folders.append(directory)
            files += [os.path.join(directory, name) for name in sorted(names)]
        return [path for path in files if stat.S_ISREG(os.lstat(path).st_mode)], folders

    def _new(self, folder: bytes | None = None) -> bytes:
        self._number += 1
        self._aimed = os.path.join(folder or self._folder(), b"new\xff%d" % self._number)
        return self._aimed

    def _folder(self) -> bytes:
        return self._chance.choice([folder for folder in self._folders if os.path.isdir(folder)])

    def _data(self, size: int | None = None) -> bytes:
        return self._chance.randbytes(self._chance.choice((1, 50, 5000)) if size is None else size)

    # ---- content

    def rewrite(self, path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(self._data())

    def same_size(self, path: bytes) -> bool | None:
        size = os.path.getsize(path)
        if not size:
            return False
        with open(path, "r+b") as file:
            file.write(self._data(min(size, 1000)))
        return None

    def append(self, path: bytes) -> None:
        with open(path, "ab") as file:
            file.write(self._data())

    def truncate(self, path: bytes) -> None:
        os.truncate(path, os.path.getsize(path) // 2)

    def put_back(self, path: bytes) -> None:
        """Another content, and then the first again."""
        with open(path, "r+b") as file:
            first = file.read()
            file.seek(0)
            file.write(self._data(len(first)))
            file.flush()
            file.seek(0)
            file.write(first)

    def saved(self, path: bytes) -> None:
        """As editors do: a new file in its place."""
        new = path + b"~"
        with open(new, "wb") as file:
            file.write(self._data())
        os.chmod(new, stat.S_IMODE(os.stat(path).st_mode))
        os.rename(new, path)

    def made_anew(self, path: bytes) -> None:
        """Deleted, and made again with the same content and mode."""
        found = os.stat(path)
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, stat.S_IMODE(found.st_mode))

    # ---- attributes

    def touch(self, path: bytes) -> None:
        os.utime(path, ns=(self._chance.randrange(2**60), self._chance.randrange(2**60)))

    def chmod(self, path: bytes) -> None:
        os.chmod(path, self._chance.choice((0o600, 0o640, 0o644, 0o755, 0o4755, 0o666)))

    def chown(self, path: bytes) -> None:
        os.chown(path, self._chance.choice(_OWNERS), self._chance.choice(_OWNERS))

    def xattr(self, path: bytes) -> None:
        os.setxattr(path, b"user.test%d" % self._chance.randrange(3), self._data(8))

    # ---- names

    def rename(self, path: bytes) -> None:
        new = self._new()
        os.rename(path, new)
        self._files.append(new)

    def rename_over(self, path: bytes) -> bool | None:
        other = self._chance.choice(self._files)
        if other == path or not os.path.isfile(other) or os.path.islink(other) or os.path.samefile(path, other):
            return False
        self._aimed = other
        os.rename(path, other)
        return None

    def rename_directory(self, path: bytes) -> bool | None:
        folder = self._folder()
        if folder == self._root or sum(len(files) for _, _, files in os.walk(folder)) > 50:
            return False
        self._aimed = os.path.join(os.path.dirname(folder), b"moved%d" % len(self.log))
        self.log.append(f"rename_directory {folder!r} {self._aimed!r}")
        os.rename(folder, self._aimed)
        self._files, self._folders = self._walked()
        return None

    def delete(self, path: bytes) -> None:
        os.unlink(path)

    def create(self, path: bytes) -> None:
        new = self._new()
        with open(new, "wb") as file:
            file.write(self._data())
        self._files.append(new)

    def copied(self, path: bytes) -> None:
        new = self._new()
        shutil.copyfile(path, new)
        self._files.append(new)

    def link(self, path: bytes) -> None:
        new = self._new()
        os.link(path, new)
        self._files.append(new)

    def to_symlink(self, path: bytes) -> None:
        os.unlink(path)
        os.symlink(b"/etc/passwd", path)

    def to_directory(self, path: bytes) -> None:
        os.unlink(path)
        os.mkdir(path)
        with open(os.path.join(path, b"inside"), "wb") as file:
            file.write(self._data())
