"""What a daemon at work adds to doctor's examination."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from filewatchd.model import RootState
from filewatchd.service import vitals
from filewatchd.service.examining import together
from filewatchd.service.findings import Finding, Severity
from filewatchd.watch.roots import Happening, Missing, Root, RootKey


def finding(severity: Severity, code: str, path: str = "") -> Finding:
    return Finding(severity, code, "what", "why", "remedy", path=path)


def test_what_both_find_is_told_once_and_the_worst_comes_first() -> None:
    missing, full = finding(Severity.NOTE, "root-missing", "/in"), finding(Severity.WARNING, "state-space", "/state")
    stalled = finding(Severity.ERROR, "root-stalled", "/nfs")
    own = [
        finding(Severity.NOTE, "root-waiting", "/in"),
        finding(Severity.NOTE, "root-waiting", "/other"),
        finding(Severity.ERROR, "root-stalled", "/nfs"),
        finding(Severity.ERROR, "journal-blocked", "/state"),
    ]
    assert together([stalled, full, missing], own) == (own[3], stalled, full, own[1], missing)


def parts_with(*roots: Root) -> MagicMock:
    parts = MagicMock()
    parts.rooting.roots.return_value = list(roots)
    parts.rooting.rules_by_root.return_value = {root.path: {"b", "a"} for root in roots}
    return parts


@pytest.mark.parametrize(("limited", "remedy"), [(True, "max_user_watches"), (False, "exclude them")])
def test_a_degraded_root_has_a_remedy_for_its_reason(limited: bool, remedy: str) -> None:
    root = Root(RootKey("/in"))
    root.failed["/in/x"] = Missing("no watch is left", 0, limited)
    root.move(Happening.GAPS, "1 directory isn't watched")
    (found,) = vitals.roots(parts_with(root))
    assert root.state is RootState.DEGRADED
    assert (found.severity, found.code, found.rule, found.path) == ("warning", "root-degraded", "a, b", "/in")
    assert remedy in found.remedy


def test_a_root_whose_filesystem_hangs_and_one_that_is_waited_for() -> None:
    hangs, waits = Root(RootKey("/nfs")), Root(RootKey("/later"))
    hangs.move(Happening.HANGS, "it doesn't answer")
    assert [(found.severity, found.code) for found in vitals.roots(parts_with(hangs, waits))] == [
        ("error", "root-stalled"),
        ("note", "root-waiting"),
    ]


@pytest.mark.parametrize(
    ("backends", "codes"),
    [
        ({"inotify": {"overflows": 0, "budget": {"given_back": 0}}, "poll": {"budget": {"given_back": 0}}}, []),
        ({"inotify": {"overflows": 2, "budget": {"given_back": 7}}}, ["queue-overflowed", "watches-shared"]),
    ],
)
def test_what_was_too_little(backends: dict[str, Any], codes: list[str]) -> None:
    parts = MagicMock()
    parts.rooting.statistics.return_value = {"backends": backends}
    assert [found.code for check in (vitals.overflows, vitals.budget) for found in check(parts)] == codes


def test_why_changes_may_have_been_missed() -> None:
    """But for what has a finding of its own."""
    parts, since = MagicMock(), "2030-01-31T12:00:00.000000+00:00"
    reasons = [
        {"about": about, "what": "x", "why": "why", "since": since} for about in ("stalled", "skipped", "journal")
    ]
    parts.promise.statistics.return_value = {"reasons": reasons}
    (found,) = vitals.promise(parts)
    assert (found.code, found.message) == ("promise-doubted", "x: why")
    assert since in found.why
