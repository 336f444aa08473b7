"""This checkout once more, elsewhere: what is built there must not tell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.dist import TREE, names

needed = pytest.mark.skipif(not (TREE / ".git").exists(), reason="only a git checkout tells what belongs to it")


def clone(place: Path, umask: int = 0o022) -> Path:
    """A clone in ``place`` that has the files as they are here now, made under a umask."""
    before = os.umask(umask)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", TREE, place], check=True)
        for name in names(TREE):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, place / name)
        for name in set(names(place)) - set(names(TREE)):
            (place / name).unlink()
        return place
    finally:
        os.umask(before)
