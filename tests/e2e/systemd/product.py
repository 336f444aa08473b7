"""filewatchd's own package, of this tree or of an earlier commit, and a Debian that has it installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.systemd.kept import content, digest_of, kept
from tests.e2e.systemd.layers import Stack, add
from tools.deb import build

TREE = Path(__file__).parents[3]

#: All of the tree that can make a difference to the package. The commit makes one too, but not to the tests.
_PARTS = (
    "CHANGELOG.md",
    "README.md",
    "config",
    "docs/man",
    "filewatchd",
    "packaging",
    "pyproject.toml",
    "requirements/deb.lock",
    "systemd",
    "tools/deb.py",
    "tools/dist.py",
)

#: As an administrator would install it, but not started: tests write a configuration first.
_INSTALL = """
dpkg --install filewatchd.deb
systemctl -q disable filewatchd.service
"""


def package(release: str) -> Path:
    """The package of this tree, built if it wasn't yet: half a minute."""
    return _built(release, TREE, digest_of(release, *(f"{part}\0{_content(part)}" for part in _PARTS)))


def package_of(commit: str, release: str, directory: Path) -> Path:
    """The package of another commit of this repository, which is checked out into an empty ``directory``."""
    subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", TREE, directory], check=True)
    subprocess.run(["git", "-C", directory, "checkout", "-q", commit], check=True)
    return _built(release, directory, digest_of(release, commit))


def _content(part: str) -> str:
    names = subprocess.run(
        ["git", "-C", TREE, "ls-files", "-z", "--cached", "--others", "--exclude-standard", part],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return digest_of(*(f"{name}\0{content(TREE / name)}" for name in names if (TREE / name).is_file()))


def _built(release: str, tree: Path, digest: str) -> Path:
    def make(new: Path) -> None:
        build(release, new, tree)

    (deb,) = kept("packages", digest, make).glob("*.deb")
    return deb


def installed(below: Stack, deb: Path) -> Stack:
    """The stack with a package of filewatchd's installed."""
    return add(below, _INSTALL, files={"filewatchd.deb": deb})
