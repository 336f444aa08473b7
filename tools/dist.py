"""Build the wheel and the sdist: `python -m tools.dist`, into dist/.

The build backend is the one that pyproject.toml pins, asked through its hooks (PEP 517) in a copy of what git knows.
The copy's times are the last commit's and its modes don't depend on the umask: setuptools puts both into the wheel, and
SOURCE_DATE_EPOCH where it writes a file itself. A tarball has the building user and the time of day in it, so it is
packed anew. Two builds of the same commit are the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TREE = Path(__file__).parent.parent


def build(out: Path, tree: Path = TREE) -> list[Path]:
    """Build wheel and sdist of a tree (a git checkout) into ``out``; returns their paths.

    Raises:
        CalledProcessError: git or the build backend failed; it has said why.
    """
    stamp = committed(tree)
    with tempfile.TemporaryDirectory() as scratch:
        source, made = Path(scratch, "tree"), Path(scratch, "made")
        copy(tree, source, stamp)
        made.mkdir()
        ask("sdist", source, made, stamp)
        ask("wheel", source, made, stamp)
        for tarball in made.glob("*.tar.gz"):
            repack(tarball, stamp)
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copyfile(each, out / each.name)) for each in sorted(made.iterdir())]


def ask(kind: str, source: Path, made: Path, stamp: int) -> None:
    """Let the build backend make a ``wheel`` or ``sdist`` of what is in ``source``."""
    program = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    command = [sys.executable, "-I", "-W", "ignore", "-c", program, str(made)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(stamp)}
    subprocess.run(command, cwd=source, env=environment, umask=0o022, stdout=subprocess.DEVNULL, check=True)


def committed(tree: Path) -> int:
    """When the last commit was made, in seconds since 1970."""
    return int(git(tree, "log", "-1", "--format=%ct"))


def names(tree: Path) -> list[str]:
    """The files of a checkout, relative: what git knows, and what is new and not ignored."""
    found = git(tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted(name for name in found if name and (tree / name).is_file())


def copy(tree: Path, target: Path, stamp: int) -> None:
    """A checkout's files as they are now, with one time and plain modes."""
    for name in names(tree):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, place)
        place.chmod(0o755 if os.access(tree / name, os.X_OK) else 0o644)
        os.utime(place, (stamp, stamp))


def repack(tarball: Path, stamp: int) -> None:
    """Write a tarball anew: members sorted, one time, nobody's user, no name in gzip's header."""
    new = tarball.with_suffix(".new")
    with (
        tarfile.open(tarball) as old,
        new.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=stamp, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            archive.addfile(_plain(member, stamp), old.extractfile(member) if member.isreg() else None)
    new.replace(tarball)


def _plain(member: tarfile.TarInfo, stamp: int) -> tarfile.TarInfo:
    plain = tarfile.TarInfo(member.name)
    plain.type, plain.size, plain.mtime = member.type, member.size, stamp
    plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return plain


def git(tree: Path, *words: str) -> str:
    """What a git command says of a tree."""
    return subprocess.run(["git", "-C", str(tree), *words], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Build both, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description=__doc__)
    parser.add_argument("--out", type=Path, default=TREE / "dist", metavar="DIR")
    for path in build(parser.parse_args().out):
        print(path)


if __name__ == "__main__":
    main()
