"""Why a path is a rule's or isn't, of cases that a real daemon seldom meets."""

from __future__ import annotations

import stat
from typing import Any
from unittest.mock import MagicMock

import pytest

from filewatchd.config.origins import Origins
from filewatchd.control.documents import Reason
from filewatchd.jobs.waiting import Stage, Waiting
from filewatchd.model import Kind, Ready, RuleSettings
from filewatchd.service.covering import covered
from filewatchd.service.reasons import Case, besides, deciding
from filewatchd.service.sight import Sight
from filewatchd.state.rows import Row
from filewatchd.watch.roots import Happening, Missing, Root, RootKey

ORIGINS = Origins("f:1", {"roots": ("f:3", "f:3", "f:4"), "follow_symlinks": ("f:9",), "changes": ("f:5",)})
LEADS = "it is a symlink, which leads to something else"
FILE, LINK = stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777


def case(path: str, sight: Sight | None = None, **more: Any) -> Case:
    """A case of a rule on the roots /in and /one.conf."""
    rule = RuleSettings("rule", ("/in", "/one.conf"), (), follow_symlinks=more.pop("follow", False))
    sight = sight or Sight(path, FILE, size=1234)
    return Case(rule, ORIGINS, None, path, sight, covered(rule.roots, {}, path, sight.real))._replace(**more)


def about(found: Case, what: str) -> Reason:
    return next(reason for reason in (*deciding(found), *besides(found)) if reason.about == what)


@pytest.mark.parametrize(
    ("sight", "follow", "passed", "text"),
    [
        (Sight("/in/a", FILE, size=1234), False, True, "it is a file of 1,234 bytes"),
        (Sight("/in/a", stat.S_IFBLK), False, False, "it is a block device: only files are looked at"),
        (Sight("/in/a", error="Permission denied"), False, False, "it can't be looked at: Permission denied"),
        (Sight("/in/a", LINK, FILE), True, True, f"{LEADS}: it is a file"),
        (Sight("/in/a", LINK, None), True, True, "it is a symlink that leads nowhere yet, and is followed"),
        (Sight("/in/a", LINK, stat.S_IFSOCK), True, False, f"{LEADS}: it is a socket: only files are looked at"),
    ],
)  # fmt: skip
def test_what_is_there(sight: Sight, follow: bool, passed: bool, text: str) -> None:
    found = about(case("/in/a", sight, follow=follow), "type")
    assert (found.passed, found.text) == (passed, text)
    assert found.where == ("f:9" if sight.mode == LINK else None)


def test_a_file_root_is_followed_and_asked_no_pattern() -> None:
    found = list(deciding(case("/one.conf", Sight("/one.conf", LINK, FILE))))
    assert [(reason.about, reason.passed) for reason in found] == [("enabled", True), ("root", True), ("type", True)]
    assert (found[1].text, found[1].where) == ("it is the root /one.conf itself", "f:4")


def test_a_place_that_isnt_watched_is_said_besides() -> None:
    root = Root(RootKey("/in"))
    root.failed["/in/deep"] = Missing("no watch is left", 0, limited=True)
    root.move(Happening.GAPS, "1 directory isn't watched")
    beside, within = case("/in/deeper/a", root=root), case("/in/deep/er/a", root=root)
    assert about(beside, "root").text == "it is below /in; the root is degraded: 1 directory isn't watched"
    assert all(reason.passed for reason in besides(beside))
    assert next(besides(within)).text == (
        "/in/deep isn't watched, changes are found by the next scan: no watch is left"
    )


def test_who_writes_a_held_file() -> None:
    held = case("/in/a", waiting=Waiting(Stage.HELD), writers=["cp (pid 7)", "dd (pid 8)"])
    assert about(held, "ready").text.startswith("cp (pid 7), dd (pid 8) has it open for writing; ")
    nobody_seen = case("/in/a", waiting=Waiting(Stage.HELD))
    assert about(nobody_seen, "ready").text.startswith("somebody has it open for writing; ")


@pytest.mark.parametrize(
    ("known", "there", "kind"),
    [
        (False, False, Kind.CREATED),
        (False, True, Kind.CREATED),
        (True, True, Kind.MODIFIED),
        (True, False, Kind.DELETED),
    ],
)
def test_what_the_next_change_would_be(known: bool, there: bool, kind: Kind) -> None:
    row = Row(1, 2, 3, 4, 0) if known else None
    found = about(case("/in/a", Sight("/in/a", FILE if there else None), known=row), "changes")
    assert f"the next change would be {kind.value}" in found.text
    assert (found.passed, found.where) == (kind is not Kind.DELETED, "f:5")


@pytest.mark.parametrize(
    ("why", "open_gate", "passed", "text"),
    [
        (None, True, True, "the rule isn't held"),
        ("too many paths", True, False, "the rule starts no job: too many paths"),
        (None, False, False, "no job starts: the job journal can't be written"),
    ],
)
def test_why_no_job_starts(why: str | None, open_gate: bool, passed: bool, text: str) -> None:
    pipeline = MagicMock()
    pipeline.holding.why, pipeline.engine.gate.is_open = why, open_gate
    found = about(case("/in/a", pipeline=pipeline), "paused")
    assert (found.passed, found.text) == (passed, text)


@pytest.mark.parametrize("ready", Ready)
def test_when_a_file_is_complete(ready: Ready) -> None:
    found = case("/in/a")
    reason = about(found._replace(rule=found.rule._replace(ready=ready)), "ready")
    assert reason.passed
    assert "quiet for 200ms" in reason.text


def test_names_that_arent_utf8_can_be_told() -> None:
    found = case("/in/\udcff/a~")
    assert "\ufffd" in about(found._replace(rule=found.rule._replace(exclude=("\udcff/",))), "exclude").text
