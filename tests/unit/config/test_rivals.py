"""Which rules would rotate one log: by their patterns, or by the files that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.registry import packages
from filewatchd.config.load import load
from filewatchd.config.rivals import rivals
from filewatchd.model import RuleSettings

A, B = "/nowhere/log", "/nowhere/log/app"


def rule(*roots: str, include: Sequence[str] = (), exclude: Sequence[str] = (), **more: Any) -> RuleSettings:
    return RuleSettings("rule", roots, (), include=tuple(include), exclude=tuple(exclude), **more)


def found(*rules: RuleSettings) -> list[tuple[str, int, str]]:
    """What two rules share, which of them is the wider one, and what would leave the other's out of it."""
    real = {root: root for each in rules for root in each.roots}
    return [(each.what, each.wider, each.exclude) for each in rivals(rules, real)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (rule(A), rule(A), (f"{A}/**/*", 0, "")),
        (rule(A, include=["*.log"]), rule(A, include=["*.log"]), (f"{A}/**/*.log", 0, "")),
        (rule(A, include=["*.log"]), rule(A, include=["app.log"]), (f"{A}/**/app.log", 0, "/**/app.log")),
        (rule(A, include=["/app.log"]), rule(A, include=["*.log"]), (f"{A}/app.log", 1, "/app.log")),
        (rule(A, include=["*.log"]), rule(B, include=["/*.log"]), (f"{B}/*.log", 0, "/app/*.log")),
        (rule(A), rule(B, include=["web-[0-9].log"]), (f"{B}/**/web-[0-9].log", 0, "/app/**/web-[0-9].log")),
        (rule("/nowhere/*/log"), rule("/nowhere/app/log"), ("/nowhere/app/log/**/*", 0, "")),
        (rule(A, "/elsewhere"), rule(A, include=["app.log"]), (f"{A}/**/app.log", 0, "")),
        (rule(A, include=["*.log"]), rule(f"{A}/*.log"), (f"{A}/*.log", 0, "/*.log")),
        (rule(A, include=["app/"]), rule(B, include=["*.log"]), (f"{B}/**/*.log", 0, "/app/**/*.log")),
        (rule("/"), rule(A, include=["a?.log"]), (f"{A}/**/a?.log", 0, "/nowhere/log/**/a?.log")),
        (rule(A, include=["*.log", "!app.log"]), rule(A, include=["a*.log"]), (f"{A}/**/a*.log", 0, "/**/a*.log")),
    ],
)
def test_patterns_that_overlap(first: RuleSettings, second: RuleSettings, expected: tuple[str, int, str]) -> None:
    assert found(first, second) == [expected]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (rule(A, include=["*.log"]), rule(A, include=["*.txt"])),
        (rule(A, include=["/*.log"]), rule(B, include=["*.log"])),
        (rule(A, recursive=False), rule(B)),
        (rule(A, include=["*.log"], exclude=["/app/"]), rule(B, include=["*.log"])),
        (rule(A, include=["*.log"], exclude=["web-*"]), rule(A, include=["web-*.log"])),
        (rule(A, include=["*.log", "!web-*.log"]), rule(A, include=["web-*.log"])),
        (rule(A, include=["web-*"]), rule(A, include=["*-error.log"])),  # they might, but nothing is there
        (rule(A), rule("/nowhere/logs")),
        (rule("/nowhere/*/log"), rule("/nowhere/app")),
        (rule(f"{A}/*.log"), rule(f"{A}/*.txt")),
        (rule(A, include=["[a-m]*.log"]), rule(A, include=["[n-z]*.log"])),
        (rule(A, enabled=True), rule("/elsewhere")),
    ],
)
def test_patterns_that_do_not(first: RuleSettings, second: RuleSettings) -> None:
    assert found(first, second) == found(second, first) == []


def test_what_might_overlap_is_decided_by_the_files(tmp_path: Path) -> None:
    root = str(tmp_path)
    web, errors = rule(root, include=["web-*"]), rule(root, include=["*-error.log"])
    (tmp_path / "web-access.log").touch()
    (tmp_path / "db-error.log").touch()
    assert found(web, errors) == []
    (tmp_path / "web-error.log").touch()
    assert found(web, errors) == [(f"{root}/web-error.log", 0, "/web-error.log")]
    assert sorted(found(web, rule(root, include=["db-*"]), errors)) == [
        (f"{root}/db-error.log", 1, "/db-error.log"),
        (f"{root}/web-error.log", 0, "/web-error.log"),
    ]


def test_the_pattern_that_is_advised_does_it(tmp_path: Path) -> None:
    """Whatever the names are; what can't be written down is only told."""
    config, root = tmp_path / "filewatchd.yaml", tmp_path / "log"
    names = ["web-error.log", "web-[x] *-error.log", "web-\\-error.log", "web-\n-error.log", "web-\udcff-error.log"]
    (root / "sub").mkdir(parents=True)
    for number, name in enumerate(names):
        (root / "sub" / name).touch()
        rules = [
            {"name": side, "roots": [str(root)], "include": [include], "actions": [{"rotate": {"when": {"size": 1}}}]}
            for side, include in (("web", "web-*"), ("errors", "*-error.log"))
        ]
        (said,) = warnings(config, json.dumps({"version": 1, "rules": rules}))
        assert said.isprintable()
        advice = re.search(r"; add (\".*\") to exclude of the rule web$", said)
        assert said.endswith("; leave it to one of them") if number >= 3 else advice is not None
        if advice is not None:
            rules[0]["exclude"] = [json.loads(advice[1])]
            assert warnings(config, json.dumps({"version": 1, "rules": rules})) == []
        (root / "sub" / name).unlink()


def test_a_root_is_what_is_there(tmp_path: Path) -> None:
    inner = tmp_path / "app.log"
    inner.mkdir()
    (tmp_path / "one.log").touch()
    around = rule(str(tmp_path), recursive=False)
    assert found(around, rule(str(inner))) == []
    assert found(around, rule(f"{tmp_path}/*.log")) == [(f"{tmp_path}/*.log", 0, "/*.log")]
    inner.rmdir()
    inner.touch()
    assert found(around, rule(str(inner))) == [(str(inner), 0, "/app.log")]


RULES = """version: 1
rules:
  - name: all
    roots: [{root}]
    include: ["*.log"]
    actions:
      - rotate: {{when: {{size: 1MiB}}}}
  - name: {name}
    enabled: {enabled}
    roots: [{root}/app]
    include: ["*.log"]
    actions:
      - {second}: {{when: {{size: 1MiB}}}}
"""


def warnings(config: Path, text: str) -> list[str]:
    config.write_text(text)
    return [str(each) for each in load(config, registry=packages(), environ={}, flags={}).warnings]


def test_both_rules_are_named_with_their_places(tmp_path: Path) -> None:
    root, link, config = tmp_path / "log", tmp_path / "link", tmp_path / "filewatchd.yaml"
    root.mkdir()
    link.symlink_to(root)
    text = RULES.format(root=root, name="app", enabled="true", second="rotate")
    said = (
        f"{config}:13:17: the rules all ({config}:7) and app both rotate {root}/app/**/*.log: only the first does; "
        'add "/app/**/*.log" to exclude of the rule all'
    )
    assert warnings(config, text) == [said]
    assert warnings(config, text.replace(f"{root}/app", f"{link}/app")) == [said], "through a symlink"
    assert warnings(config, text.replace("enabled: true", "enabled: false")) == []
    assert warnings(config, text.replace("  - rotate: {when: {size: 1MiB}}", "  - log: {}", 1)) == []
    twice = text.replace('include: ["*.log"]', 'include: ["/*.log"]', 1) + "      - rotate: {when: {age: 1d}}\n"
    assert warnings(config, twice) == [
        f"{config}:14:17: rotate stands in this rule twice: only the first one works; take one of them out"
    ]
