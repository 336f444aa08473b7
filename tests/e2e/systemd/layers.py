"""What stands below a machine's overlay: a Debian release, packages added to it, filewatchd installed.

Each is a directory in the cache that holds only what differs from those below, so that a machine costs one mount and
a package is installed once, not once a test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.e2e.systemd.cell import Cell
from tests.e2e.systemd.kept import content, digest_of, kept
from tools.roots import root

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


def debian(release: str) -> Stack:
    """A release with systemd, dbus and python3."""
    place = root(release)
    status = place.stat()
    return Stack((place,), digest_of(release, str(status.st_ino), str(status.st_ctime_ns)))


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
    contents = (f"{name}\0{content(path)}" for name, path in sorted(files.items()))
    digest = digest_of(below.digest, script, *words, *contents)
    layer = kept("layers", digest, lambda new: _build(below, new, script, words, files))
    return Stack((*below.directories, layer / "upper"), digest)


def _build(below: Stack, new: Path, script: str, words: tuple[str, ...], files: Mapping[str, Path]) -> None:
    for name in ("upper", "work"):
        (new / name).mkdir()
    binds = [f"--bind-ro={path}:/mnt/{name}" for name, path in files.items()]
    log = new / "log"
    with contextlib.closing(Cell(below.directories, new / "upper")) as cell, log.open("wb") as output:
        command = ["--as-pid2", "--chdir=/mnt", *binds, "--", "/bin/sh", "-euc", script, "layer", *words]
        status = cell.nspawn(*command, output=output).wait()
    assert status == 0, f"a layer can't be built: {log.read_text(errors='replace')[-4000:]}"


def lacking() -> str:
    """Why no machine can be booted here; empty if one can."""
    if os.geteuid():
        return "it takes root"
    missing = [name for name in ("systemd-nspawn", "debootstrap", "setpriv", "unshare") if not shutil.which(name)]
    return f"{' and '.join(missing)} not installed (`make deps` installs them)" if missing else ""
