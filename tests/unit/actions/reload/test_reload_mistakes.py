"""Options of a reload that can't be meant, and what it brings and needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions import reload
from filewatchd.actions.telling import Telling
from filewatchd.model import RuleSettings
from tests.unit.actions.reload.scene import GUARD


@pytest.mark.parametrize(
    ("options", "rule", "message"),
    [
        ({"mode": "check", "on_bad": "restore", "healthy": []}, {}, "nothing can be restored"),
        ({"mode": "check"}, {}, "watches no health"),
        ({"mode": "check", "check": None, "apply": None, "healthy": []}, {}, "nothing to do"),
        ({"mode": "publish"}, {}, "publish goes with its mode"),
        ({"publish": {"from": "/a", "to": "/b"}}, {}, "publish goes with its mode"),
        ({"mode": "publish", "publish": {"from": "/etc/a", "to": "/etc/a/b"}}, {"roots": ("/etc/a",)}, "within"),
        ({"mode": "publish", "publish": {"from": "/etc/a", "to": "/b"}}, {"roots": ("/c",)}, "only root"),
        ({"mode": "publish", "publish": {"from": "/a", "to": "/b"}}, {"roots": ("/a",), "user": "x"}, "daemon itself"),
        ({}, {"roots": ("/etc/*.d",)}, "is a glob"),
        ({}, {"roots": ("/",)}, "whole system"),
        ({}, {"recursive": False}, "everything below"),
    ],
)  # fmt: skip
def test_mistakes_are_told(options: dict[str, Any], rule: dict[str, Any], message: str) -> None:
    settings = RuleSettings(**{"name": "app", "roots": ("/etc/app",), "actions": (), **rule})
    found = msgspec.convert({**GUARD, **options}, reload.Options)
    assert any(message in problem.message for problem in reload.check(found, settings))


@pytest.mark.skipif(os.geteuid() != 0, reason="it is root whom others could mislead")
def test_nothing_is_published_where_others_may_write(tmp_path: Path) -> None:
    """Who may write the directory above could put a link in the place of what root is just making."""
    (tmp_path / "open").mkdir()
    options = msgspec.convert(
        {"mode": "publish", "publish": {"from": "/etc/a", "to": f"{tmp_path}/open/live"}}, reload.Options
    )
    rule = RuleSettings(name="app", roots=("/etc/a",), actions=())

    def told() -> list[str]:
        return [
            problem.message for problem in reload.check(options, rule) if "lead what root writes" in problem.message
        ]

    assert told() == []
    (tmp_path / "open").chmod(0o777)
    (message,) = told()
    assert "everybody may write" in message


def test_what_it_brings_and_needs() -> None:
    options = msgspec.convert({**GUARD, "apply": {"unit": "app.service"}}, reload.Options)
    assert reload.rule_defaults(options)["batch"] == "rule"
    assert reload.needs(options).extras == ("systemd",)
    assert options.probes[0].stay == 1.0  # a reload's old processes answer well for a while
    assert isinstance(options.apply, Telling)
