"""Build the Debian packages: `python -m tools.deb [RELEASE...]`, into dist/.

Each is built inside its release's own root, by debhelper, with that release's python3. What it has inside is what
requirements/deb.lock pins, fetched here with its hashes checked; the root itself needs the network for Debian's
packages alone, and those are kept, so a second build takes half a minute.

Two builds of the same commit are the same bytes: times are the last commit's, and no place of the build gets in.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from filewatchd import __version__
from tests.e2e.systemd import layers
from tests.e2e.systemd.cell import Cell, sweep
from tests.e2e.systemd.kept import content, digest_of, kept
from tools.dist import copy, git
from tools.roots import CACHE, RELEASES

TREE = Path(__file__).parent.parent
NUMBERS = {"bookworm": "12", "trixie": "13"}
TOOLS = (
    "debhelper",
    "gcc",
    "libsystemd-dev",
    "lintian",
    "pkg-config",
    "python3-dev",
    "python3-pip",
    "python3-setuptools",
)
#: They have no wheels: built inside the root.
SDISTS = ("pyinotify", "systemd-python")

_BUILD = """
cp -r /mnt/tree /build
mkdir /build/wheels
cp /mnt/wheels/* /build/wheels
cp -r /build/packaging/deb/debian /build/debian
cp /mnt/changelog /build/debian/changelog
cd /build
export SOURCE_DATE_EPOCH="$1"
find . -exec touch --no-dereference --date "@$1" {} +
dpkg-buildpackage --build=binary --no-sign --no-check-builddeps
cp /filewatchd_*.deb /mnt/out
lintian --fail-on error --allow-root /filewatchd_*.deb
"""


def build(release: str, out: Path, tree: Path = TREE) -> Path:
    """Build one release's package of a tree (a git checkout) into ``out``; returns its path.

    Raises:
        CalledProcessError: git, pip or a tool inside the root failed; it has said why.
        AssertionError: the package couldn't be built; has the end of what was said.
    """
    sweep()
    stack = layers.packages(layers.debian(release), *TOOLS)
    stamp, version = commit(tree)
    version = f"{version}~deb{NUMBERS[release]}"
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        place = Path(scratch)
        source = place / "tree"
        copy(tree, source, stamp)
        (place / "out").mkdir()
        (place / "changelog").write_text(_changelog(version, release, stamp))
        wheels = fetched(release, source)
        log = place / "log"
        binds = [f"--bind-ro={each}:/mnt/{each.name}" for each in (source, place / "changelog")]
        binds += [f"--bind-ro={wheels}:/mnt/wheels", f"--bind={place / 'out'}:/mnt/out"]
        with contextlib.closing(Cell(stack.directories)) as cell, log.open("wb") as output:
            command = ["--as-pid2", "--private-network", *binds, "--", "/bin/sh", "-euc", _BUILD, "build", str(stamp)]
            status = cell.nspawn(*command, output=output).wait()
        text = log.read_text(errors="replace")
        assert status == 0, f"the package for {release} can't be built:\n{text[-6000:]}"
        print(*(line for line in text.splitlines() if line.startswith(("W: ", "E: "))), sep="\n")
        (built,) = (place / "out").iterdir()
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(built, out))


def commit(tree: Path) -> tuple[int, str]:
    """The last commit's time (seconds since 1970) and the version: between two releases, it sorts before the next."""
    stamp, short = git(tree, "log", "-1", "--abbrev=12", "--format=%ct %h").split()
    dirty = "+dirty" if git(tree, "status", "--porcelain") else ""
    if not dirty and f"v{__version__}" in git(tree, "tag", "--points-at", "HEAD").split():
        return int(stamp), __version__
    return int(stamp), f"{__version__}~git{datetime.fromtimestamp(int(stamp), UTC):%Y%m%d%H%M%S}.{short}{dirty}"


def fetched(release: str, tree: Path) -> Path:
    """A directory with everything that deb.lock pins, for the release's python3; kept, since it never changes."""
    lock = tree / "requirements" / "deb.lock"
    blocks = list(_blocks(lock))
    wheels = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", RELEASES[release]]
    wheels += [f"--platform={glibc}_{_machine()}" for glibc in ("manylinux_2_17", "manylinux2014", "manylinux_2_28")]
    sdists = ["--no-binary", ":all:", "--no-build-isolation"]

    def fetch(new: Path) -> None:
        _download(new, [block for name, block in blocks if name not in SDISTS], *wheels)
        _download(new, [block for name, block in blocks if name in SDISTS], *sdists)

    return kept("wheels", digest_of(release, content(lock)), fetch)


def _blocks(lock: Path) -> Iterator[tuple[str, str]]:
    """The lock's requirements: name, and text with hashes."""
    for block in lock.read_text().replace("\\\n", "").splitlines():
        if block.strip():
            yield block.partition("==")[0], block


def _download(place: Path, blocks: list[str], *wanted: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
        lock.write("\n".join(blocks) + "\n")
        lock.flush()
        words = ["download", "-q", "--no-deps", "--require-hashes", *wanted, "-d", str(place), "-r", lock.name]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)


def _machine() -> str:
    return subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()


def _changelog(version: str, release: str, stamp: int) -> str:
    when = format_datetime(datetime.fromtimestamp(stamp, UTC))
    who = "The filewatchd authors <authors@filewatchd.invalid>"
    return f"filewatchd ({version}) {release}; urgency=medium\n\n  * See changelog.gz.\n\n -- {who}  {when}\n"


def main() -> None:
    """Build the packages that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.deb", description=__doc__)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=f"{' or '.join(RELEASES)}; both unless said")
    parser.add_argument("--out", type=Path, default=TREE / "dist", metavar="DIR")
    asked = parser.parse_args()
    for release in asked.releases or RELEASES:
        if release not in RELEASES:
            parser.error(f"{release} is none of {', '.join(RELEASES)}")
        print(build(release, asked.out), flush=True)


if __name__ == "__main__":
    main()
