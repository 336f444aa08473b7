"""Real packages in made-up roots: built by dpkg-deb and rpmbuild, installed by dpkg and rpm."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def dpkg_root(root: Path) -> Path:
    """A root with an empty dpkg database, and /lib merged into /usr."""
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "usr/lib", "etc"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "lib").symlink_to("usr/lib")
    return root


def dpkg(root: Path, *arguments: object) -> None:
    """Run dpkg, or one of its kin, upon a root."""
    program = str(arguments[0])
    where = [f"--root={root}"] if program == "dpkg" else [f"--admindir={root}/var/lib/dpkg", f"--instdir={root}"]
    if program == "dpkg-statoverride":
        where = [f"--root={root}"]
    subprocess.run([program, *where, *map(str, arguments[1:])], check=True, capture_output=True)


def dpkg_in_place(database: Path, built: Path) -> None:
    """Install a package where its files say, but into a database of our own."""
    in_place(database, "-i", built)


def in_place(database: Path, *arguments: object) -> None:
    """Run dpkg upon such packages."""
    command = ["dpkg", f"--admindir={database}/var/lib/dpkg", "--instdir=/", "--force-not-root", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def deb(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    conffiles: Sequence[str] = (),
    same: bool = False,
) -> Path:
    """Build a package of these files, path without the first slash -> text."""
    tree = folder / f"{name}-{version}"
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    control = tree / "DEBIAN"
    control.mkdir(mode=0o755)
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    control.joinpath("control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture if same else 'all'}\n"
        + ("Multi-Arch: same\n" if same else "")
        + "Maintainer: nobody <nobody@example.org>\nDescription: a test\n two lines\n"
    )
    sums = {path: hashlib.md5(text.encode()).hexdigest() for path, text in files.items() if path not in conffiles}
    control.joinpath("md5sums").write_bytes(os.fsencode("".join(f"{md5}  {path}\n" for path, md5 in sums.items())))
    if conffiles:
        control.joinpath("conffiles").write_text("".join(f"/{path}\n" for path in conffiles))
    built = folder / f"{name}_{version}.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, built], check=True, capture_output=True
    )
    return built


def rpm(folder: Path, name: str, version: str, files: Mapping[str, str], modes: Mapping[str, str]) -> Path:
    """Build a package; ``modes``: path -> octal, 0644 where it isn't there."""
    source = folder / f"{name}-{version}"
    for path, text in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    listed = "".join(f"%attr({modes.get(path, '0644')}, root, root) /{path}\n" for path in files)
    spec = folder / f"{name}-{version}.spec"
    spec.write_text(
        f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: a test\nLicense: none\nBuildArch: noarch\n"
        f"%description\na test\n%install\nmkdir -p %{{buildroot}}\ncp -r {source}/. %{{buildroot}}/\n%files\n{listed}"
    )
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}/build", spec], check=True, capture_output=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    return folder / "build/RPMS/noarch" / f"{name}-{version}-1.noarch.rpm"
