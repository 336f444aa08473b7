"""Debian roots made by debootstrap, kept outside the tree: `python -m tools.roots [RELEASE...]` makes what is missing.

Packages are built in them and tests boot them. A root is made under another name and renamed when it is whole, and two
processes that want the same one make it once. It is then only read: whoever changes anything has an overlay above it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

#: Release -> the minor version of its python3.
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
CACHE = Path(os.environ.get("FILEWATCHD_CACHE", "/var/cache/filewatchd-test"))
_INCLUDED = ("systemd", "systemd-sysv", "dbus", "python3")


def root(release: str) -> Path:
    """The root of a release with systemd, dbus and python3; made if it isn't there, which takes a minute.

    Raises:
        CalledProcessError: debootstrap failed; it has said why.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / release
    with (CACHE / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            print(f"filewatchd: making a root of Debian {release} in {place}", flush=True)
            new = place.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={','.join(_INCLUDED)}", release, str(new)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            new.rename(place)
    return place


def main() -> None:
    """Make the roots that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.roots", description=__doc__)
    parser.add_argument("releases", nargs="*", choices=[*RELEASES, []], metavar="RELEASE")
    for release in parser.parse_args().releases or RELEASES:
        print(root(release))


if __name__ == "__main__":
    main()
