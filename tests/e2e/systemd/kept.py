"""Directories that take long to make and never change, kept in the cache by a digest of all that went into them.

Who makes one holds its lock alone, who uses one shares it for life; what nobody wanted for a week goes when the next is
made. One that was left half made is never taken for a whole one: it gets its name last.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e.systemd.cell import CACHE

_WEEK = 7 * 24 * 3600.0
_locks: dict[Path, int] = {}


def kept(kind: str, digest: str, make: Callable[[Path], None]) -> Path:
    """The directory of this kind and digest; ``make`` fills an empty one if there is none. Exceptions pass through."""
    place = CACHE / kind / digest
    lock = _lock(place.with_suffix(".lock"))
    if not place.exists():
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not place.exists():
                new = place.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                make(new)
                new.rename(place)
                _prune(place.parent)
        except BaseException:
            fcntl.flock(lock, fcntl.LOCK_UN)  # whoever else wants it shall try, and not wait for this process' end
            raise
        fcntl.flock(lock, fcntl.LOCK_SH)
    return place


def _lock(path: Path) -> int:
    """A lock, shared until this process ends; the file's mtime tells when somebody last wanted what it guards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if path not in _locks:
        _locks[path] = os.open(path, os.O_RDONLY)
    fcntl.flock(_locks[path], fcntl.LOCK_SH)
    return _locks[path]


def _prune(kind: Path) -> None:
    for path in kind.glob("*.lock"):
        if path.stat().st_mtime > time.time() - _WEEK:
            continue
        with contextlib.suppress(OSError), path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for suffix in ("", ".new"):
                shutil.rmtree(path.with_suffix(suffix), ignore_errors=True)
            path.unlink()


def digest_of(*parts: str) -> str:
    """A digest of texts, in their order."""
    return hashlib.sha256("\0\0".join(parts).encode()).hexdigest()[:24]


def content(path: Path) -> str:
    """A digest of a file, or of all files below a directory with their names and modes."""
    digest = hashlib.sha256()
    for each in sorted(_files(path)):
        digest.update(f"{each.relative_to(path)}\0{each.stat().st_mode}\0".encode())
        digest.update(each.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from (each for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())
