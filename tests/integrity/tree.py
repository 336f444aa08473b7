"""Trees to index: a part of a real one, or one that is made up, with names of any bytes."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

_LARGEST = 1024 * 1024  # bytes of a copied file: the count matters here, not the size
_WORDS = [b"bin", b"lib", b"share", b"doc", b"x", b"data", b"etc"]
_ODD = [
    b"line\nbreak",
    b"\xff\xfe",
    b"back\\slash",
    b" blank ",
    b"cr\r",
    b"tab\t",
    "\N{SNOWMAN}".encode(),
    b"-",
    b"=x",
    b"'\"$`",
]


def copied(directory: Path, source: str, most: int) -> int:
    """Copy the first so many files of a real tree, with their modes, owners and hard links; returns how many."""
    known: dict[tuple[int, int], str] = {}
    count = 0
    for path, found in _files(source):
        if count >= most:
            break
        target = os.path.join(directory, os.path.relpath(path, source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        first = known.setdefault((found.st_dev, found.st_ino), target)
        if first != target:
            os.link(first, target)
        else:
            shutil.copyfile(path, target)
            os.chown(target, found.st_uid, found.st_gid)
            os.chmod(target, stat.S_IMODE(found.st_mode))
        count += 1
    return count


def _files(source: str) -> Iterator[tuple[str, os.stat_result]]:
    for directory, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST:
                yield path, found


def made_up(directory: Path, count: int, seed: int) -> int:
    """Make a tree of so many files: small ones, empty ones, equal ones, hard links, sparse ones."""
    chance = random.Random(seed)
    root = os.fsencode(directory)
    folders = [root]
    paths: list[bytes] = []
    while len(paths) < count:
        if chance.random() < 0.06:
            folder = os.path.join(chance.choice(folders), chance.choice(_WORDS + _ODD) + b"%d" % len(folders))
            os.mkdir(folder)
            folders.append(folder)
        suffix = chance.choice(_ODD) if chance.random() < 0.1 else b""
        path = os.path.join(chance.choice(folders), b"f%d%s" % (len(paths), suffix))
        if paths and chance.random() < 0.03:
            os.link(chance.choice(paths), path)
        else:
            with open(path, "wb") as file:
                file.write(chance.randbytes(chance.choice((0, 1, 100, 4096, 4097, 70_000))))
                if chance.random() < 0.01:
                    file.truncate(5_000_000)
            os.chmod(path, chance.choice((0o644, 0o600, 0o755, 0o400)))
        paths.append(path)
    return count
