"""Completion scripts and man pages are those of the commands as they are, and groff finds nothing wrong with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.pages import ROOT, pages

PAGES = dict(pages())
MAN = [path for path in PAGES if path.suffix == ".1"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_they_are_up_to_date(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run python -m tools.pages"


def test_there_are_no_others() -> None:
    assert {path for folder in ("packaging/completions", "docs/man") for path in (ROOT / folder).iterdir()} == set(
        PAGES
    )


@pytest.mark.parametrize("path", MAN, ids=lambda path: path.name)
def test_groff_finds_nothing_wrong(path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    found = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", path], capture_output=True, text=True, check=True
    )
    assert found.stderr == ""
    assert "--json" in found.stdout
    assert "EXIT STATUS" in found.stdout
