"""Completion scripts, man pages and the configuration of `filewatchd init` are those of what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.pages import ROOT, pages

PAGES = dict(pages())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_they_are_up_to_date(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run python -m tools.pages"


def test_there_are_no_others() -> None:
    made = [path for path in PAGES if path.parent.name in ("completions", "man")]
    assert {path for folder in ("packaging/completions", "docs/man") for path in (ROOT / folder).iterdir()} == {*made}
