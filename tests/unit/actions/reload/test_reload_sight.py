"""Who sees what is in a set's files: as the kernel would let them read, or because they may act."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.actions import reload
from filewatchd.actions.base import Caller
from filewatchd.actions.reload.entries import Entry
from filewatchd.actions.reload.sight import EVERYTHING, Sight, Viewer
from tests.unit.actions.reload.scene import Scene, save, within

OWNER, MEMBER, STRANGER = Viewer(1000), Viewer(2000, frozenset({2000, 33})), Viewer(3000, frozenset({3000}))
ACL = (("system.posix_acl_access", "00"),)


def entry(mode: int, kind: str = "f", *, acl: bool = False) -> Entry:
    return Entry(kind, mode, 1000, 33, xattrs=ACL if acl else ())


def seen_by(way: int, file: Entry) -> list[bool]:
    """Whether owner, member and stranger see a file in a directory of this mode."""
    entries = {"0": entry(0o755, "d"), "0/d": entry(way, "d"), "0/d/f": file}
    return [Sight(viewer, ["/etc"]).sees(entries, "0/d/f") for viewer in (OWNER, MEMBER, STRANGER)]


@pytest.mark.parametrize(
    ("way", "mode", "seen"),
    [
        (0o755, 0o644, [True, True, True]),
        (0o755, 0o640, [True, True, False]),
        (0o755, 0o600, [True, False, False]),
        (0o755, 0o044, [False, True, True]),  # the owner's own bits count, as for the kernel
        (0o755, 0o604, [True, False, True]),  # and the group's
        (0o710, 0o644, [True, True, False]),
        (0o700, 0o644, [True, False, False]),
        (0o766, 0o644, [True, False, False]),  # to list a directory isn't to come to what is in it
    ],
)
def test_modes_and_owners_decide(way: int, mode: int, seen: list[bool]) -> None:
    assert seen_by(way, entry(mode)) == seen


def test_an_acl_may_take_away_what_the_mode_gives() -> None:
    assert seen_by(0o755, entry(0o644, acl=True)) == [True, False, False]


def test_who_may_act_sees_everything() -> None:
    entries = {"0": entry(0o700, "d"), "0/f": entry(0)}
    assert Sight(EVERYTHING, ["/root/nowhere"]).sees(entries, "0/f")


def test_directories_above_the_roots_count_as_they_are(tmp_path: Path) -> None:
    viewer = Viewer(os.geteuid())  # as an owner it passes wherever the owner may; the set's files are another's
    (tmp_path / "a/etc").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    root, entries = f"{tmp_path}/link/etc", {"0": entry(0o755, "d"), "0/f": entry(0o644)}
    entries[f"@{tmp_path}/a/outside"] = entry(0o644)

    def seen() -> list[bool]:
        return [Sight(viewer, [root]).sees(entries, key) for key in ("0/f", f"@{tmp_path}/a/outside")]

    assert seen() == [True, True]
    (tmp_path / "a").chmod(0o077)
    assert seen() == [False, False]
    (tmp_path / "a").rename(tmp_path / "b")
    assert seen() == [False, False]


def test_what_may_not_be_read_is_counted_and_not_shown(tmp_path: Path) -> None:
    """Neither of the two versions may have been out of sight; a binary file's sizes are all that anybody sees."""
    tmp_path.chmod(0o700)  # a stranger doesn't come here

    async def work(scene: Scene) -> None:
        binary, public = scene.root / "data", scene.root / "new.conf"
        binary.write_bytes(b"\0")
        await save(scene, "-- comment\nkind: one\n")
        binary.write_bytes(b"\0\0")
        public.write_text("fresh\n")
        await save(scene, "++ comment\nkind: two\nmore\n")
        two = reload.answers.Two(before="1", after="2")
        for caller in (Caller(3000, 1), Caller(3000, 1, frozenset({0}))):
            found = (await scene.ask("diff", two, caller)).lines
            assert found == [
                f"! {scene.file}: +3 -2 lines, not shown to you",
                f"! {binary}: 1 -> 2 bytes, not shown",
                found[2],
                f"! {public}: +1 -0 lines, not shown to you",
                found[4],
            ]
            assert found[4].startswith(
                "... what isn't shown is there for who may read the file itself, and for who may"
            )
            shown = await scene.ask("show", reload.answers.Which(version="2"), caller)
            assert {row["content"] for row in shown.files} == {""}
        assert "+kind: two" in (await scene.ask("diff", two, Caller(3000, 1, acts=True))).lines
        assert "+kind: two" in (await scene.ask("diff", two, Caller(os.geteuid(), 1))).lines
        shown = await scene.ask("show", reload.answers.Which(version="2"))
        assert [len(row["content"]) for row in shown.files] == [0, 64, 64, 64]

    within(work, tmp_path)


def test_a_version_that_was_out_of_sight_stays_so() -> None:
    """What is readable now doesn't tell what wasn't."""
    for before, after in [(0o600, 0o644), (0o644, 0o600), (0o644, 0o644)]:
        sight = Sight(STRANGER, ["/etc"])
        one, other = ({"0": entry(0o755, "d"), "0/f": entry(mode)} for mode in (before, after))
        assert (sight.sees(one, "0/f") and sight.sees(other, "0/f")) is (before == after)
