"""Which actions there are, and what becomes of plug-ins that are broken or unsafe."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from filewatchd.actions import registry
from filewatchd.actions.registry import Packages, packages
from filewatchd.errors import FatalError
from filewatchd.model import RuleSettings

RULE = RuleSettings(name="rule", roots=("/r",), actions=())
PLUGIN = Path(__file__).parents[2] / "plugin"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that Python imports from, for the length of a test."""
    directory = tmp_path_factory.mktemp("site", numbered=True)
    for name in [name for name in sys.modules if name.startswith("filewatchd_example_action")]:
        monkeypatch.delitem(sys.modules, name)  # its own tests may have imported it
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(directory), *(path for path in sys.path if "plugin" not in path)])
    importlib.invalidate_caches()
    yield directory
    for name in set(sys.modules) - before:
        del sys.modules[name]


def plugin(site: Path, name: str, text: str) -> EntryPoint:
    """A module as an entry point."""
    (site / f"{name}_module.py").write_text(text)
    importlib.invalidate_caches()
    return EntryPoint(name=name, value=f"{name}_module", group=registry.GROUP)


def problem_of(found: Packages, name: str) -> str:
    (problem,) = found[name].check(found[name].Options(), RULE)
    assert problem.hint
    return problem.message


def test_the_built_in_ones() -> None:
    found = packages()
    assert {"exec", "log"} <= set(found)
    for name in ("exec", "log"):
        assert found[name].name == name
        assert found[name] is found[name]
    assert found.get("exce") is None
    assert "exce" not in found
    assert len(found) == len(list(found))


def install(site: Path) -> None:
    """Lay the example package out as pip does: its modules, and a dist-info with what its pyproject.toml says."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    (package,) = {value.partition(":")[0] for value in project["entry-points"][registry.GROUP].values()}
    shutil.copytree(PLUGIN / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{package}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = "".join(f"{name} = {value}\n" for name, value in project["entry-points"][registry.GROUP].items())
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entries}")


def test_the_example_package_is_found_by_its_entry_point(site: Path) -> None:
    install(site)
    found = packages()
    assert "seal" in found
    assert "filewatchd_example_action" not in sys.modules  # only when it is asked for
    package = found["seal"]
    assert package.name == "seal"
    assert package.Options(into="/seals").audit_every == 3600.0
    assert sys.modules["filewatchd_example_action"].__file__ == f"{site}/filewatchd_example_action/__init__.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library", "needs no_such_library"),
        ("1 / 0", "ZeroDivisionError"),
        ("syntax error", "SyntaxError"),
        ("name = 'bad'", "has no Options, check, rule_defaults, needs, open"),
        ("Options = check = rule_defaults = needs = open = None; name = 'other'", "calls itself 'other'"),
    ],
)
def test_a_broken_one_is_told_where_it_is_used(site: Path, text: str, message: str) -> None:
    found = Packages([plugin(site, "bad", text)])
    assert list(found) == sorted({"bad", *registry.packages()})
    assert message in problem_of(found, "bad")
    assert found["bad"].rule_defaults(None) == {}
    with pytest.raises(FatalError, match="bad can't be loaded"):
        found["bad"].open(None, None)  # type: ignore[arg-type]


def test_one_that_others_may_write_is_refused_and_not_run(site: Path) -> None:
    entry = plugin(site, "unsafe", "raise SystemExit('it ran')")
    os.chmod(site / "unsafe_module.py", 0o666)
    assert "everybody may write" in problem_of(Packages([entry]), "unsafe")


def test_so_is_one_with_a_single_unsafe_file(site: Path) -> None:
    (site / "deep" / "inner").mkdir(parents=True)
    (site / "deep" / "__init__.py").write_text("raise SystemExit('it ran')")
    (site / "deep" / "inner" / "module.py").touch()
    os.chmod(site / "deep" / "inner" / "module.py", 0o602)
    entry = EntryPoint(name="deep", value="deep", group=registry.GROUP)
    assert "everybody may write" in problem_of(Packages([entry]), "deep")


def test_two_of_one_name_are_told(site: Path) -> None:
    entry = plugin(site, "twice", "")
    assert "both bring it" in problem_of(Packages([entry, entry]), "twice")


def test_nobody_replaces_a_built_in_one(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = Packages([plugin(site, "exec", "raise SystemExit('it ran')")])
    assert found["exec"].__name__ == "filewatchd.actions.exec"  # type: ignore[attr-defined]
    assert "which is built in" in caplog.text
