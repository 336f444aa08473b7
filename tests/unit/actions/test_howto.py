"""The code of docs/how-to/write-an-action.md does what the page says."""

from __future__ import annotations

import asyncio
import importlib
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from filewatchd.actions import registry
from filewatchd.actions.base import Answering
from filewatchd.model import RuleSettings
from filewatchd.service.endpoints import route_of
from filewatchd.testing import FakeContext

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-an-action.md"


def test_the_pages_action_passes_the_pages_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, more, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    site = tmp_path / "site"
    site.mkdir()
    (site / "filewatchd_census.py").write_text(f"{package}\n{more}\nCensus.answer = answer\n")
    (site / "its_test.py").write_text(test)
    monkeypatch.syspath_prepend(str(site))
    importlib.import_module("its_test").test_lines_are_counted(tmp_path)

    entry = EntryPoint(name="census", value="filewatchd_census", group=registry.GROUP)
    census = registry.Packages([entry])["census"]
    rule = RuleSettings(name="rule", roots=("/r",), actions=())
    assert not list(census.check(census.Options(), rule))
    assert len(list(census.check(census.Options(at_most=0), rule))) == 1

    action = census.open(census.Options(), FakeContext(rule))
    assert isinstance(action, Answering)
    assert asyncio.run(action.answer("lines", None)).lines == 0
    (endpoint,) = importlib.import_module("filewatchd_census").endpoints
    route = route_of("census", endpoint)
    assert f"`{route.method} {route.path}?rule=NAME`" in PAGE.read_text()
