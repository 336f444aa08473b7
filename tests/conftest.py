"""How long hypothesis looks: a fixed set of examples in CI, new ones each time elsewhere, many in ``make soak``.

And a fixture for tests that need a program.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.scripts.mounts import Mounts

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default"))


@pytest.fixture
def program() -> Callable[[str], str]:
    """Finds a program the test needs. CI has them all; elsewhere the test is skipped and says what it lacks."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and "CI" not in os.environ:
            pytest.skip(f"{name} is not installed (as root, `make deps` installs it)")
        assert path, f"{name} is not installed: requirements/debian.txt must name it"
        return path

    return find


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """Filesystems that end with the test."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    (tmp_path / "images").mkdir()
    found = Mounts(tmp_path / "images")
    try:
        yield found
    finally:
        found.close()
