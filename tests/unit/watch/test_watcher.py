"""Watching, on the real kernel: what happens in a directory reaches the subscribers, whatever happens to it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filewatchd.model import Hint, RootState
from filewatchd.rules.match import Selection
from filewatchd.testing.backend import ScriptedBackend
from filewatchd.watch.backends.base import Lost
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.placing import Glob
from filewatchd.watch.roots import RootKey
from tests.unit.watch.conftest import Recorder

Rig = Callable[..., Any]


def test_a_written_file_is_marked_and_closed(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            _, told = await r.watch(tmp_path)
            (tmp_path / "a").write_text("x")
            await r.until(lambda: any(p == "a" and h & Hint.CLOSED for p, h in told.marked), "a closed")

    asyncio.run(story())


def test_the_first_file_of_fresh_directories_is_never_missed(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            _, told = await r.watch(tmp_path)
            wanted = set()
            for number in range(300):
                deep = tmp_path / f"n{number}" / "b" / "c"
                deep.mkdir(parents=True)
                (deep / "first").write_text("x")
                wanted.add(f"n{number}/b/c/first")
            await r.until(lambda: wanted <= told.seen, "300 first files")

    asyncio.run(story())


def test_a_tree_moved_in_brings_its_files_and_is_watched(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            outside = tmp_path / "outside" / "tree" / "deep"
            outside.mkdir(parents=True)
            (outside / "old").write_text("x")
            root = tmp_path / "root"
            root.mkdir()
            _, told = await r.watch(root)
            (tmp_path / "outside" / "tree").rename(root / "tree")
            await r.until(lambda: "tree/deep/old" in told.seen, "the file that came along")
            (root / "tree" / "deep" / "later").write_text("x")
            await r.until(lambda: "tree/deep/later" in told.seen, "a later file in it")

    asyncio.run(story())


def test_a_tree_moved_out_goes_silent(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            root = tmp_path / "root"
            (root / "tree" / "deep").mkdir(parents=True)
            _, told = await r.watch(root)
            (root / "tree").rename(tmp_path / "gone")
            await r.until(lambda: "tree" in told.doubted, "the tree in doubt")
            await r.until(lambda: r.backend.table.count == 1, "its watches given back")
            told.forget()
            (tmp_path / "gone" / "deep" / "ghost").write_text("x")
            (root / "real").write_text("x")
            await r.until(lambda: "real" in told.seen, "the real file")
            assert told.seen == {"real"}

    asyncio.run(story())


def test_a_renamed_directory_keeps_its_watches_under_its_new_name(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            (tmp_path / "old" / "deep").mkdir(parents=True)
            _, told = await r.watch(tmp_path)
            (tmp_path / "old").rename(tmp_path / "new")
            await r.until(lambda: "old" in told.doubted, "the old name in doubt")
            (tmp_path / "new" / "deep" / "file").write_text("x")
            await r.until(lambda: "new/deep/file" in told.seen, "the file by its new path")
            assert not any(path.startswith("old") for path in told.seen)

    asyncio.run(story())


def test_a_file_rename_is_paired(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            (tmp_path / "a").write_text("x")
            _, told = await r.watch(tmp_path)
            (tmp_path / "a").rename(tmp_path / "b")
            await r.until(lambda: told.pairs == [("a", "b")], "the pair")

    asyncio.run(story())


def test_excluded_directories_are_not_watched(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            for name in ("keep/x", "node_modules/deep/er", "node_modules/more"):
                (tmp_path / name).mkdir(parents=True)
            await r.watch(tmp_path, selection=Selection([], ["node_modules/"]))
            assert r.backend.table.count == 3, "the root, keep and keep/x"
            (tmp_path / "node_modules" / "later").mkdir()
            (tmp_path / "keep" / "later").mkdir()
            await r.until(lambda: r.backend.table.count == 4, "only the wanted one is added")

    asyncio.run(story())


def test_a_missing_root_waits_and_appears_at_any_depth(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            path = tmp_path / "a" / "b" / "c"
            root, told = await r.watch(path)
            assert root.state.value == "waiting"
            path.mkdir(parents=True)
            (path / "first").write_text("x")
            await r.until(lambda: root.state is RootState.LIVE and "first" in told.seen, "live with its first file")
            assert told.appeared[-1]

    asyncio.run(story())


def test_a_root_deleted_and_recreated_is_live_again(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            path = tmp_path / "root"
            path.mkdir()
            root, told = await r.watch(path)
            for number in range(20):
                shutil.rmtree(path)
                path.mkdir()
                (path / f"f{number}").write_text("x")
                await r.until(lambda n=number: f"f{n}" in told.seen, f"f{number}")
            await r.until(lambda: root.state is RootState.LIVE, "live")

    asyncio.run(story())


def test_a_root_renamed_away_and_back(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            path = tmp_path / "up" / "root"
            path.mkdir(parents=True)
            root, told = await r.watch(path)
            (tmp_path / "up").rename(tmp_path / "away")
            await r.until(lambda: root.state is RootState.WAITING and "" in told.doubted, "waiting")
            (tmp_path / "away").rename(tmp_path / "up")
            await r.until(lambda: root.state is RootState.LIVE, "live again")
            (path / "f").write_text("x")
            await r.until(lambda: "f" in told.seen, "its file")

    asyncio.run(story())


def test_a_root_replaced_by_a_symlink_follows_it(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
            link = tmp_path / "current"
            link.symlink_to("one")
            root, told = await r.watch(link)
            (tmp_path / "one" / "a").write_text("x")
            await r.until(lambda: "a" in told.seen, "through the first link")
            (tmp_path / "next").symlink_to("two")
            (tmp_path / "next").rename(link)
            await r.until(lambda: root.top == str(tmp_path / "two") and root.state is RootState.LIVE, "flipped")
            (tmp_path / "two" / "b").write_text("x")
            await r.until(lambda: "b" in told.seen, "through the second")

    asyncio.run(story())


def test_a_file_root_survives_replacement_deletion_and_data_flips(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            for version in ("v1", "v2"):
                (tmp_path / version).mkdir()
                (tmp_path / version / "conf").write_text(version)
            (tmp_path / "..data").symlink_to("v1")
            path = tmp_path / "conf"
            path.symlink_to("..data/conf")
            root, told = await r.watch(path)
            assert root.state.value == "live"
            told.forget()
            (tmp_path / "tmp").symlink_to("v2")
            (tmp_path / "tmp").rename(tmp_path / "..data")
            await r.until(lambda: "" in told.seen and root.top == str(tmp_path / "v2"), "the flip")
            told.forget()
            (tmp_path / "v2" / "new").write_text("atomic")
            (tmp_path / "v2" / "new").rename(tmp_path / "v2" / "conf")
            await r.until(lambda: "" in told.seen, "the replacement")
            (tmp_path / "v2" / "conf").unlink()
            await r.until(lambda: root.state is RootState.WAITING, "waiting")
            (tmp_path / "v2" / "conf").write_text("back")
            await r.until(lambda: root.state is RootState.LIVE, "live")

    asyncio.run(story())


def test_a_root_is_no_prefix_of_a_sibling(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            for name in ("a", "ab"):
                (tmp_path / name).mkdir()
            _, told = await r.watch(tmp_path / "a")
            _, other = await r.watch(tmp_path / "ab")
            (tmp_path / "ab" / "f").write_text("x")
            await r.until(lambda: "f" in other.seen, "the sibling's file")
            assert not told.seen

    asyncio.run(story())


def test_overlapping_roots_both_see_and_one_may_go(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            inner_path = tmp_path / "outer" / "inner"
            inner_path.mkdir(parents=True)
            inner, told_inner = await r.watch(inner_path)
            _, told_outer = await r.watch(tmp_path / "outer")
            (inner_path / "f").write_text("x")
            await r.until(lambda: "f" in told_inner.seen and "inner/f" in told_outer.seen, "both")
            r.watcher.set_roots({inner.key: inner.subscribers})
            (inner_path / "g").write_text("x")
            await r.until(lambda: "g" in told_inner.seen, "the inner root lives on")
            assert r.backend.table.count == 1

    asyncio.run(story())


def test_a_non_recursive_root_sees_only_its_own_files(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            (tmp_path / "sub").mkdir()
            _, told = await r.watch(tmp_path, recursive=False)
            (tmp_path / "sub" / "f").write_text("x")
            (tmp_path / "g").write_text("x")
            await r.until(lambda: "g" in told.seen, "the own file")
            assert told.seen == {"g"}

    asyncio.run(story())


def test_names_of_any_bytes(rig: Rig, tmp_path: Path) -> None:
    names = [b"line\nbreak", b" spaces ", b"-rf", b"*?[", b"\xff\xfe", b"n" * 255]

    async def story() -> None:
        async with rig() as r:
            _, told = await r.watch(tmp_path)
            for name in names:
                os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
            await r.until(lambda: {os.fsdecode(n) for n in names} <= told.seen, "all names")

    asyncio.run(story())


def test_globs_gain_and_lose_members(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            (tmp_path / "one" / "logs").mkdir(parents=True)
            pattern = f"{tmp_path}/*/logs"
            r.watcher.set_globs([pattern])
            glob = r.watcher.globs[pattern]
            await r.until(lambda: glob.members == [f"{tmp_path}/one/logs"], "the first member")
            (tmp_path / "two" / "logs").mkdir(parents=True)
            await r.until(lambda: len(glob.members) == 2, "the second")
            shutil.rmtree(tmp_path / "one")
            await r.until(lambda: glob.members == [f"{tmp_path}/two/logs"], "one gone")

    asyncio.run(story())


def test_a_new_member_of_a_glob_appeared_and_an_old_one_did_not(rig: Rig, tmp_path: Path) -> None:
    told: dict[str, Recorder] = {}

    async def story() -> None:
        async with rig() as r:

            def members(glob: Glob) -> None:
                told.update({path: Recorder() for path in glob.members if path not in told})
                r.watcher.set_roots({RootKey(path): [recorder] for path, recorder in told.items()})

            r.watcher._placing._members = members
            (tmp_path / "one").mkdir()
            r.watcher.set_globs([f"{tmp_path}/*"])
            await r.until(lambda: len(told) == 1, "the first member")
            (tmp_path / "two").mkdir()
            await r.until(lambda: len(told) == 2 and all(t.scans for t in told.values()), "both scanned")
            assert [set(t.appeared) for t in told.values()] == [{False}, {True}]

    asyncio.run(story())


def test_an_overflow_scans_every_root_again(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        backend = ScriptedBackend()
        async with rig(backend) as r:
            root, told = await r.watch(tmp_path)
            (tmp_path / "unseen").write_text("x")
            told.forget()
            backend.feed(Lost())
            await r.until(lambda: told.scanned == ["unseen"] and root.state is RootState.LIVE, "the rescan")

    asyncio.run(story())


def test_a_root_that_was_gone_when_it_was_scanned_is_scanned_again(rig: Rig, tmp_path: Path) -> None:
    """The directory that is there next may have the inode of the one before it."""

    async def story() -> None:
        class GoneOnce(InotifyBackend):
            gone = True

            def arm(self, fd: int) -> int:
                if self.gone:
                    self.gone = False
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return super().arm(fd)

        async with rig(GoneOnce()) as r:
            root, told = await r.watch(tmp_path)
            assert root.state is RootState.LIVE
            (tmp_path / "a").write_text("x")
            await r.until(lambda: "a" in told.seen, "a file in the directory that was there at last")

    asyncio.run(story())


def test_a_used_up_budget_degrades_loudly(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        for number in range(10):
            (tmp_path / f"d{number}").mkdir()
        async with rig(ScriptedBackend(budget=5)) as r:
            root, told = await r.watch(tmp_path)
            await r.until(lambda: root.state is RootState.DEGRADED, "degraded")
            assert len(root.failed) >= 5
            assert "max_user_watches" in root.why
            assert told.scans == [False]

    asyncio.run(story())


def test_followed_symlinks_are_marked_when_their_target_changes(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        async with rig() as r:
            root_path, away = tmp_path / "root", tmp_path / "away"
            root_path.mkdir()
            away.mkdir()
            (away / "target").write_text("1")
            (root_path / "link").symlink_to(away / "target")
            _, told = await r.watch(root_path, follow=True)
            await r.until(lambda: str(away) in r.backend._anchor_of, "the target's directory is anchored")
            told.forget()
            (away / "target").write_text("2")
            await r.until(lambda: "link" in told.seen, "the link is dirty")

    asyncio.run(story())


def test_a_followed_file_is_looked_at_again_once_its_way_is_watched(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        armed, go_on = threading.Event(), threading.Event()

        class Slow(InotifyBackend):
            def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
                if contents:
                    armed.set()
                    assert go_on.wait(20)
                return super().arm_anchor(fd, contents=contents)

        (tmp_path / "root").mkdir()
        (tmp_path / "outside").write_text("x")
        (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
        async with rig(Slow()) as r:
            watched = asyncio.create_task(r.watch(tmp_path / "root", follow=True))
            await r.until(armed.is_set, "the scan has seen the link")
            (tmp_path / "outside").write_text("changed while nobody watched it")
            assert not watched.done(), "the root is not live before all of it is watched"
            go_on.set()
            _, told = await watched
            assert ("link", Hint.AGAIN | Hint.STRICT) in told.marked
            (tmp_path / "outside").write_text("changed")
            await r.until(lambda: any(p == "link" and h & Hint.WRITE for p, h in told.marked), "it is watched")

    asyncio.run(story())


def test_both_sides_of_a_directory_rename_are_told_together(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "old" / "deep").mkdir(parents=True)
        (tmp_path / "old" / "deep" / "file").write_text("x")
        (tmp_path / "outside").mkdir()
        async with rig() as r:
            _, told = await r.watch(tmp_path)
            told.forget()
            (tmp_path / "old").rename(tmp_path / "new")
            await r.until(lambda: "old" in told.doubted, "the old place is in doubt")
            assert ("old/deep/file", "new/deep/file") in told.pairs, "the doubt comes after the pairs"
            (tmp_path / "new" / "deep" / "file").write_text("y")
            await r.until(
                lambda: any(p == "new/deep/file" and h & Hint.CLOSED for p, h in told.marked), "it is watched"
            )

    asyncio.run(story())


def test_a_directory_replaced_by_another_in_one_go(rig: Rig, tmp_path: Path) -> None:
    async def story() -> None:
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
            (tmp_path / name / f"in-{name}").write_text("x")
        async with rig() as r:
            _, told = await r.watch(tmp_path)
            told.forget()
            (tmp_path / "c").rename(tmp_path / "d")
            (tmp_path / "b").rename(tmp_path / "c")
            (tmp_path / "a").rename(tmp_path / "b")
            await r.until(lambda: {"a", "b", "c"} <= set(told.doubted), "every old place is in doubt")
            await r.until(lambda: {"b/in-a", "c/in-b", "d/in-c"} <= told.seen, "every file at its new place")

    asyncio.run(story())
