"""Wheel and sdist: built twice, in different places and under different umasks, they are the same bytes."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.checkout import clone, needed
from tools.dist import TREE, ask, build, committed, names

pytestmark = needed


class Made(NamedTuple):
    wheel: Path
    sdist: Path


def made(place: Path, umask: int = 0o022) -> Made:
    return Made(*build(place / "dist", clone(place / "clone", umask)))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("first"))


def test_two_builds_are_the_same_bytes(first: Made, tmp_path: Path) -> None:
    second = made(tmp_path / "deeper" / "second", 0o077)
    assert first.wheel.name == second.wheel.name
    assert first.wheel.read_bytes() == second.wheel.read_bytes()
    assert first.sdist.name == second.sdist.name
    assert first.sdist.read_bytes() == second.sdist.read_bytes()


def test_the_sdist_has_everything_that_git_knows(first: Made, tmp_path: Path) -> None:
    tree = unpacked(first.sdist, tmp_path)
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    metadata = {name for name in found if name.startswith("filewatchd.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert found - metadata == set(names(TREE))
    different = [name for name in names(TREE) if (tree / name).read_bytes() != (TREE / name).read_bytes()]
    assert not different
    executable = {name for name in found if os.access(tree / name, os.X_OK)}
    assert executable == {name for name in names(TREE) if os.access(TREE / name, os.X_OK)}


def test_the_wheel_has_the_package_alone(first: Made) -> None:
    with zipfile.ZipFile(first.wheel) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == {name for name in names(TREE) if name.startswith("filewatchd/")}


def test_the_sdist_makes_the_same_wheel(first: Made, tmp_path: Path) -> None:
    ask("wheel", unpacked(first.sdist, tmp_path), tmp_path, committed(TREE))
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == first.wheel.read_bytes()


def unpacked(sdist: Path, place: Path) -> Path:
    subprocess.run(["tar", "-xzf", sdist, "-C", place], check=True)
    return place / sdist.name.removesuffix(".tar.gz")
