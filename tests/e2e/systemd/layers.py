"""What stands below a machine's overlay: a Debian release, packages added to it, filewatchd installed.

Each is a directory in the cache that holds only what differs from those below, so that a machine costs one mount and
a package is installed once, not once a test. A layer's name is a digest of all that went into it. Who builds one holds
its lock alone, who uses one shares it for life; what nobody used for a week goes when the next is built.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.e2e.systemd.cell import CACHE, Cell

_WEEK = 7 * 24 * 3600.0
_LAYERS = CACHE / "layers"
_locks: dict[str, int] = {}

#: No service of the package may start in a root that isn't booted (invoke-rc.d(8)).
_PACKAGES = """
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy install --no-install-recommends "$@"
apt-get clean
rm /usr/sbin/policy-rc.d
"""


class Stack(NamedTuple):
    """Directories for one overlay, the lowest first, and a digest of all that went into them."""

    directories: tuple[Path, ...]
    digest: str


def packages(below: Stack, *names: str) -> Stack:
    """The stack with Debian packages added, fetched by apt with the host's network."""
    return add(below, _PACKAGES, *sorted(names))


def add(below: Stack, script: str, *words: str, files: Mapping[str, Path] | None = None) -> Stack:
    """The stack with one more layer: what a shell script makes of it, run as root inside, not booted.

    ``words`` are the script's arguments; ``files`` lie in its working directory under these names.

    Raises:
        AssertionError: the script failed; has its output.
    """
    files = files or {}
    digest = _digest(below, script, *words, *(f"{name}\0{content(path)}" for name, path in sorted(files.items())))
    lock = _lock(digest)
    layer = _LAYERS / digest
    if not layer.exists():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            _build(below, layer, script, words, files)
            _prune()
        fcntl.flock(lock, fcntl.LOCK_SH)
    return Stack((*below.directories, layer), digest)


def _build(below: Stack, layer: Path, script: str, words: tuple[str, ...], files: Mapping[str, Path]) -> None:
    new, work = layer.with_suffix(".new"), layer.with_suffix(".new.work")
    for directory in (new, work):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    binds = [f"--bind-ro={path}:/mnt/{name}" for name, path in files.items()]
    log = layer.with_suffix(".log")
    with contextlib.closing(Cell(below.directories, new)) as cell, log.open("wb") as output:
        command = ["--as-pid2", "--chdir=/mnt", *binds, "--", "/bin/sh", "-euc", script, "layer", *words]
        status = cell.nspawn(*command, output=output).wait()
    shutil.rmtree(work)
    assert status == 0, f"a layer can't be built: {log.read_text(errors='replace')[-4000:]}"
    new.rename(layer)


def _lock(digest: str) -> int:
    """The layer's lock, shared until this process ends; the file's mtime tells when somebody last wanted the layer."""
    _LAYERS.mkdir(parents=True, exist_ok=True)
    path = _LAYERS / f"{digest}.lock"
    path.touch()
    if digest not in _locks:
        _locks[digest] = os.open(path, os.O_RDONLY)
    fcntl.flock(_locks[digest], fcntl.LOCK_SH)
    return _locks[digest]


def _prune() -> None:
    for path in _LAYERS.glob("*.lock"):
        if path.stat().st_mtime > time.time() - _WEEK:
            continue
        with contextlib.suppress(OSError), path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.with_suffix(".log").unlink(missing_ok=True)
            path.unlink()


def _digest(below: Stack, *parts: str) -> str:
    return hashlib.sha256("\0\0".join([below.digest, *parts]).encode()).hexdigest()[:24]


def content(path: Path) -> str:
    """A digest of a file, or of all files below a directory with their names and modes."""
    digest = hashlib.sha256()
    for each in sorted(_files(path)):
        digest.update(f"{each.relative_to(path)}\0{each.stat().st_mode}\0".encode())
        digest.update(each.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    yield from (each for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())


def lacking() -> str:
    """Why no machine can be booted here; empty if one can."""
    if os.geteuid():
        return "it takes root"
    missing = [name for name in ("systemd-nspawn", "debootstrap", "setpriv", "unshare") if not shutil.which(name)]
    return f"{' and '.join(missing)} not installed (`make deps` installs them)" if missing else ""
