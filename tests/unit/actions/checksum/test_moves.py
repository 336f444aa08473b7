"""Files that take one another's names, in whatever order that is told and approved."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.checksum import pairing
from filewatchd.model import Change, Kind
from tests.unit.actions.checksum.scene import Scene, story, written

ORDERS = list(itertools.permutations(range(3)))


def shifted(scene: Scene) -> list[Change]:
    """Three files in three directories, each moved to where the next one was."""
    for old, new in [("r/z", "s/new"), ("q/y", "r/z"), ("p/x", "q/y")]:
        (scene.root / new).parent.mkdir(exist_ok=True)
        (scene.root / old).rename(scene.root / new)
    moves = [("s/new", "r/z"), ("r/z", "q/y"), ("q/y", "p/x")]
    return [scene.change(new, Kind.MOVED, old) for new, old in moves]


@pytest.mark.parametrize("order", ORDERS)
@story
async def test_moves_in_a_row_in_one_job(tmp_path: Path, order: tuple[int, ...]) -> None:
    async with Scene(tmp_path) as scene:
        written(scene.root, ["p/x", "q/y", "r/z"])
        await scene.verify()
        digests = {path: row.digest for path, row in scene.rows().items()}
        changes = shifted(scene)
        await scene.job(*(changes[position] for position in order))
        after = {path: row.digest for path, row in scene.rows().items()}
        assert after == {"s/new": digests["r/z"], "r/z": digests["q/y"], "q/y": digests["p/x"]}
        await scene.verify()
        assert {path: row.digest for path, row in scene.rows().items()} == after


@pytest.mark.parametrize("order", ORDERS)
@story
async def test_moves_in_a_row_that_are_approved_one_by_one(tmp_path: Path, order: tuple[int, ...]) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["p/x", "q/y", "r/z"])
        await scene.verify()
        await scene.ask("approve", all=True)
        changes = shifted(scene)
        await scene.job(*(changes[position] for position in order))
        await scene.verify()
        while scene.changes("pending"):
            waiting = scene.changes("pending")
            await scene.ask("approve", ids=(waiting[order[0] % len(waiting)].id,))
        assert sorted(scene.rows()) == ["q/y", "r/z", "s/new"]
        await scene.verify()
        assert scene.changes("pending", "open") == []


@story
async def test_what_waits_as_new_and_moves_on_waits_where_it_is(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["kept"])
        await scene.verify()
        await scene.ask("approve", all=True)
        written(scene.root, ["a"])
        await scene.changed("a", kind=Kind.CREATED)
        for old, new in (("a", "b"), ("b", "c"), ("kept", "d"), ("d", "e")):
            (scene.root / old).rename(scene.root / new)
            await scene.job(scene.change(new, Kind.MOVED, old))
        waiting = {change.path: (change.verdict.value, change.old_path) for change in scene.changes("pending")}
        assert waiting == {"c": ("new", None), "e": ("moved", "kept")}


@story
async def test_what_waits_and_is_gone_unseen_waits_no_more(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["kept", "d/x"])
        await scene.verify()
        await scene.ask("approve", all=True)
        written(scene.root, ["a", "d/b"])
        (scene.root / "kept").rename(scene.root / "moved")
        await scene.verify()
        assert sorted(change.path for change in scene.changes("pending")) == ["a", "d/b", "moved"]
        for name in ("a", "d/b", "moved"):
            (scene.root / name).unlink()
        await scene.verify(path=str(scene.root / "d"))
        assert sorted(change.path for change in scene.changes("pending")) == ["a", "moved"]
        await scene.verify("quick")
        assert [(c.verdict.value, c.path) for c in scene.changes("pending")] == [("deleted", "kept")]


@story
async def test_a_directory_that_comes_back_as_it_was_waits_no_more(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["d/x", "d/y", "kept"])
        await scene.verify()
        await scene.ask("approve", all=True)
        (scene.root / "d").rename(tmp_path / "away")
        await scene.changed("d/x", "d/y", kind=Kind.DELETED)
        assert scene.told("pending") == [("deleted", "d/x"), ("deleted", "d/y")]
        (tmp_path / "away").rename(scene.root / "d")  # the files' own times stay
        await scene.changed("d/x", "d/y", kind=Kind.CREATED)
        assert scene.told("pending", "open") == []


@story
async def test_a_quick_verify_sees_that_a_directory_is_back(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["d/x", "kept"])
        await scene.verify()
        await scene.ask("approve", all=True)
        (scene.root / "d").rename(tmp_path / "away")
        await scene.verify("quick")
        assert scene.told("pending") == [("deleted", "d/x")]
        (tmp_path / "away").rename(scene.root / "d")
        await scene.verify("quick")
        assert scene.told("pending", "open") == []


@pytest.mark.parametrize("approval", ["none", "required"])
@story
async def test_a_root_that_goes_while_it_is_watched_deletes_nothing(tmp_path: Path, approval: str) -> None:
    async with Scene(tmp_path, approval=approval) as scene:
        written(scene.root, ["d/x", "y"])
        await scene.verify()
        await scene.ask("approve", all=True)
        before = scene.rows()
        gone = [scene.change(name, Kind.DELETED) for name in ("d/x", "y")]
        scene.root.rename(tmp_path / "away")
        await scene.job(*gone)
        assert scene.told("open", "pending", "accepted")[-1:] == [("root-gone", "")]
        assert scene.told("open", "pending") == [("root-gone", "")]
        assert scene.rows() == before
        (tmp_path / "away").rename(scene.root)
        (scene.root / "y").unlink()  # unseen: only that is told
        scene.action.runs.scanned(str(scene.root))
        await scene.follow()
        assert scene.told("open") == []
        assert ("deleted", "y") in scene.told()
        assert ("deleted", "d/x") not in scene.told()


@story
async def test_a_root_that_is_one_file_is_all_that_is_known(tmp_path: Path) -> None:
    written(tmp_path, ["only", "beside"])
    only = tmp_path / "only"
    async with Scene(tmp_path, root=only) as scene:
        await scene.verify()
        assert list(scene.rows()) == [""]
        assert scene.told() == []
        only.write_text("other")
        await scene.verify("quick")
        await scene.verify()
        assert scene.told() == [("modified", "")]
        only.write_text("and again")
        await scene.job(Change(Kind.MODIFIED, str(only), str(only), None))
        assert scene.told() == [("modified", "")] * 2
        only.unlink()
        await scene.job(Change(Kind.DELETED, str(only), str(only)))
        assert scene.told()[-1] == ("deleted", "")
        assert scene.rows() == {}


MADE: dict[str, Callable[[Path], None]] = {
    "a symlink": lambda path: path.symlink_to("/etc/passwd"),
    "a directory": Path.mkdir,
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("by", ["job", "quick", "full"])
@story
async def test_a_file_that_something_else_took_the_place_of(tmp_path: Path, what: str, by: str) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["d/x", "d/gone", "kept"])
        await scene.verify()
        await scene.ask("approve", all=True)
        (scene.root / "d/x").unlink()
        MADE[what](scene.root / "d/x")
        (scene.root / "d/gone").unlink()
        if by == "job":
            await scene.changed("d/x", "d/gone", kind=Kind.DELETED)
        else:
            await scene.verify(by)
        told = {change.path: (change.verdict.value, change.message) for change in scene.changes("pending")}
        assert told == {"d/x": ("deleted", f"{what} has its name now"), "d/gone": ("deleted", "")}


@story
async def test_a_file_that_is_moved_back_was_moved_once(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["kept"])
        await scene.verify()
        await scene.ask("approve", all=True)
        known = len(scene.changes())
        for old, new in (("kept", "there"), ("there", "kept")):
            (scene.root / old).rename(scene.root / new)
            await scene.job(scene.change(new, Kind.MOVED, old))
        assert [(change.path, change.old_path, change.state.value) for change in scene.changes()[known:]] == [
            ("there", "kept", "cleared")
        ]
        await scene.verify("quick")
        await scene.verify()
        assert scene.told("pending", "open") == []
        assert list(scene.rows()) == ["kept"]


FRESH = list(itertools.permutations(["log", "log.1", "log.2"]))


@pytest.mark.parametrize("order", FRESH)
@story
async def test_logs_that_are_shifted_are_moved_and_the_fresh_one_is_new(tmp_path: Path, order: tuple[str, ...]) -> None:
    """As logrotate does: all names change at once, and a writer has added to the log since it was last looked at."""
    async with rotated(tmp_path, growing=True) as scene:
        digests = {path: row.digest for path, row in scene.rows().items()}
        shift(scene)
        await scene.job(*(scene.change(name, Kind.CREATED if name == "log.2" else Kind.MODIFIED) for name in order))
        told = {(change.verdict.value, change.old_path, change.path) for change in scene.changes()}
        assert told == {("moved", "log.1", "log.2"), ("grown", "log", "log.1"), ("new", None, "log")}
        assert scene.rows()["log.2"].digest == digests["log.1"]
        await scene.verify()
        assert len(scene.changes()) == 3
        assert sorted(scene.rows()) == ["log", "log.1", "log.2"]


@pytest.mark.parametrize("order", FRESH)
@story
async def test_logs_that_are_shifted_may_be_told_of_one_by_one(tmp_path: Path, order: tuple[str, ...]) -> None:
    async with rotated(tmp_path, growing=True) as scene:
        shift(scene)
        for name in order:
            await scene.changed(name)
        assert scene.told("open") == []
        found = {change.path: change.verdict.value for change in scene.changes()}
        assert found["log"] == "new"
        if order[0] == "log":
            assert found == {"log": "new", "log.1": "grown", "log.2": "moved"}
        assert sorted(scene.rows()) == ["log", "log.1", "log.2"]
        before = len(scene.changes())
        await scene.verify()
        assert len(scene.changes()) == before


@story
async def test_a_log_that_is_shifted_to_what_the_rule_does_not_match(tmp_path: Path) -> None:
    """It isn't looked for in vain, and nobody's file is taken into the index."""
    scene = rotated(tmp_path, growing=True)
    scene.ctx.rule = scene.ctx.rule._replace(include=("log",))
    async with scene:
        shift(scene)
        await scene.changed("log")
        assert sorted(scene.rows()) == ["log"]
        assert scene.told("open") == [("rewritten", "log")]


@story
async def test_logs_that_are_shifted_are_approved_one_by_one(tmp_path: Path) -> None:
    async with rotated(tmp_path, growing=True, approval="required") as scene:
        await scene.ask("approve", all=True)
        shift(scene, grown=False)
        await scene.job(scene.change("log"), scene.change("log.1"), scene.change("log.2", Kind.CREATED))
        assert sorted(scene.told("pending")) == [("moved", "log.1"), ("moved", "log.2"), ("new", "log")]
        while scene.changes("pending"):
            await scene.ask("approve", ids=(scene.changes("pending")[-1].id,))
        await scene.verify()
        assert scene.changes("pending", "open") == []
        assert sorted(scene.rows()) == ["log", "log.1", "log.2"]


@story
async def test_a_grown_log_that_is_moved_away_is_not_deleted(tmp_path: Path) -> None:
    """Nothing pairs the two: the size is another."""
    async with rotated(tmp_path, growing=True) as scene:
        with (scene.root / "log").open("a") as log:
            log.write("more")
        (scene.root / "log").rename(scene.root / "old")
        await scene.job(scene.change("log", Kind.DELETED), scene.change("old", Kind.CREATED))
        assert [(c.verdict.value, c.old_path, c.path) for c in scene.changes()] == [("grown", "log", "old")]
        assert sorted(scene.rows()) == ["log.1", "old"]


@story
async def test_another_file_with_a_logs_number_is_not_that_log(tmp_path: Path) -> None:
    """An inode's number is given to the next file; its content tells."""
    async with rotated(tmp_path, growing=True) as scene:
        row = scene.rows()["log"]
        (scene.root / "other").write_text("something else, and longer than what was there")
        other = scene.change("other", Kind.CREATED)
        (scene.root / "other").chmod(0o600)
        number = (scene.root / "other").stat().st_ino
        with scene.action.index.edit() as edit:  # as if the log had had the number that the other file has now
            edit.put(1, "log", row._replace(identity=row.identity._replace(ino=number)))
        await scene.job(scene.change("log"), other)
        assert ("new", "other") in scene.told()
        assert all(change.old_path is None for change in scene.changes())
        assert scene.rows()["log"].digest == row.digest


@story
async def test_a_file_that_is_saved_with_a_backup_is_modified(tmp_path: Path) -> None:
    """Where files don't just grow, the one with the name counts: editors put the old one aside."""
    async with rotated(tmp_path) as scene:
        shift(scene, grown=False)
        await scene.job(scene.change("log"), scene.change("log.1"), scene.change("log.2", Kind.CREATED))
        assert ("modified", "log") in scene.told()


def rotated(place: Path, **options: Any) -> Scene:
    """Two logs."""
    scene = Scene(place, **options)
    (scene.root / "log").write_text("lines of the log\n")
    (scene.root / "log.1").write_text("lines of before\n")
    return scene


def shift(scene: Scene, *, grown: bool = True) -> None:
    root = scene.root
    if grown:
        with (root / "log").open("a") as log:
            log.write("one more\n")
    (root / "log.1").rename(root / "log.2")
    (root / "log").rename(root / "log.1")
    (root / "log").write_text("fresh\n")


@story
async def test_what_was_moved_and_is_gone_by_the_time_of_the_look_is_deleted_where_its_row_is(tmp_path: Path) -> None:
    async with Scene(tmp_path, types=("files", "symlinks")) as scene:
        written(scene.root, ["a", "b"])
        (scene.root / "link").symlink_to("b")
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        await scene.changed("a", "b", kind=Kind.CREATED)
        before = len(scene.changes())
        (scene.root / "a").rename(scene.root / "there")
        moved = scene.change("there", Kind.MOVED, "a")
        (scene.root / "there").unlink()
        await scene.job(moved)
        assert scene.told()[before:] == [("deleted", "a")]
        assert sorted(scene.rows()) == ["b", "link"]


@story
async def test_so_it_is_where_a_walk_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(tmp_path) as scene:
        written(scene.root, ["a", "b"])
        await scene.changed("a", "b", kind=Kind.CREATED)
        before = len(scene.changes())
        (scene.root / "d").mkdir()
        (scene.root / "a").rename(scene.root / "d/there")

        def gone_since(*args: Any) -> dict[str, str]:
            (scene.root / "d/there").unlink()
            return {"d/there": "a"} | pairing.paired(*args)

        monkeypatch.setattr("filewatchd.actions.checksum.leftovers.paired", gone_since)
        await scene.verify("quick")
        assert scene.told()[before:] == [("deleted", "a")]
        assert sorted(scene.rows()) == ["b"]
