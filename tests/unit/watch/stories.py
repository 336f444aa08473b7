"""What every backend that learns from the kernel has to tell of: one class of stories, a subclass per backend.

`flush` is the barrier: when it returns, whatever happened before has been told. So nothing is waited for here but that.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filewatchd.model import Hint, RootState
from filewatchd.watch.backends.base import Backend
from filewatchd.work.pool import Pool

Rig = Callable[..., Any]


class Stories:
    """A subclass says which backend."""

    def backend(self, pool: Pool) -> Backend:
        raise NotImplementedError

    def play(
        self, rig: Rig, story: Callable[[Any], Awaitable[None]], making: AbstractContextManager[None] | None = None
    ) -> None:
        """Let a story happen to a watcher; ``making`` surrounds the making of its backend."""

        async def staged() -> None:
            pool = Pool()
            with making or nullcontext():
                backend = self.backend(pool)
            async with rig(backend, pool) as r:
                await story(r)
            pool.close()

        asyncio.run(staged())

    def test_a_file_is_created_modified_and_deleted(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            (tmp_path / "a").write_text("x")
            await r.watcher.flush()
            assert closed(told, "a")
            told.forget()
            with (tmp_path / "a").open("a") as file:
                file.write("y")
                file.flush()
                await r.watcher.flush()
                assert hints(told, "a") & Hint.WRITE
                assert not closed(told, "a"), "still open"
            told.forget()
            (tmp_path / "a").chmod(0o600)
            await r.watcher.flush()
            assert hints(told, "a") & Hint.LIVE
            told.forget()
            (tmp_path / "a").unlink()
            await r.watcher.flush()
            assert hints(told, "a") & Hint.WRITE

        self.play(rig, story)

    def test_a_file_moves_within_into_and_out_of_the_root(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            root, outside = tmp_path / "root", tmp_path / "outside"
            (root / "sub").mkdir(parents=True)
            outside.mkdir()
            (root / "a").write_text("x")
            _, told = await r.watch(root)
            told.forget()
            (root / "a").rename(root / "sub" / "b")
            await r.watcher.flush()
            assert told.pairs == [("a", "sub/b")]
            assert closed(told, "sub/b")
            told.forget()
            (root / "sub" / "b").rename(outside / "b")
            await r.watcher.flush()
            assert hints(told, "sub/b") & Hint.WRITE
            told.forget()
            (outside / "b").rename(root / "c")
            await r.watcher.flush()
            assert hints(told, "c") & Hint.WRITE
            assert not told.pairs

        self.play(rig, story)

    def test_the_first_file_of_a_hundred_new_trees(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            wanted = set()
            for number in range(100):
                deep = tmp_path / f"n{number}" / "b" / "c"
                deep.mkdir(parents=True)
                (deep / "first").write_text("x")
                wanted.add(f"n{number}/b/c/first")
            await r.watcher.flush()
            assert wanted <= told.seen

        self.play(rig, story)

    def test_a_renamed_directory_brings_its_files_in_pairs(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "old" / "deep").mkdir(parents=True)
            (tmp_path / "old" / "deep" / "file").write_text("x")
            _, told = await r.watch(tmp_path)
            told.forget()
            (tmp_path / "old").rename(tmp_path / "new")
            await r.watcher.flush()
            assert "old" in told.doubted
            assert ("old/deep/file", "new/deep/file") in told.pairs
            told.forget()
            (tmp_path / "new" / "deep" / "file").write_text("y")
            await r.watcher.flush()
            assert told.seen == {"new/deep/file"}

        self.play(rig, story)

    def test_a_tree_moves_in_and_out(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            root, outside = tmp_path / "root", tmp_path / "outside"
            root.mkdir()
            (outside / "tree" / "deep").mkdir(parents=True)
            (outside / "tree" / "deep" / "along").write_text("x")
            _, told = await r.watch(root)
            before = watches(r)
            for number in range(10):
                (outside / "tree").rename(root / "tree")
                await r.watcher.flush()
                assert "tree/deep/along" in told.seen
                (root / "tree" / "deep" / f"later{number}").write_text("x")
                await r.watcher.flush()
                assert f"tree/deep/later{number}" in told.seen
                told.forget()
                (root / "tree").rename(outside / "tree")
                await r.watcher.flush()
                assert "tree" in told.doubted
            await r.until(lambda: watches(r) == before, "the watches that went with it are given back")
            told.forget()
            (outside / "tree" / "deep" / "ghost").write_text("x")
            await r.watcher.flush()
            assert not told.seen

        self.play(rig, story)

    def test_a_directory_that_came_back_elsewhere_isnt_taken_along_by_its_old_parent(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        async def story(r: Any) -> None:
            root, outside = tmp_path / "root", tmp_path / "outside"
            (root / "a" / "b" / "deep").mkdir(parents=True)
            outside.mkdir()
            _, told = await r.watch(root)
            (root / "a" / "b").rename(outside / "b")
            (outside / "b").rename(root / "c")
            await r.watcher.flush()
            (root / "a").rename(root / "z")
            await r.watcher.flush()
            told.forget()
            (root / "c" / "deep" / "file").write_text("x")
            await r.watcher.flush()
            assert told.seen == {"c/deep/file"}

        self.play(rig, story)

    def test_a_path_is_made_anew_while_its_old_directory_lives_elsewhere(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            root, outside = tmp_path / "root", tmp_path / "outside"
            (root / "b").mkdir(parents=True)
            outside.mkdir()
            _, told = await r.watch(root)
            for number in range(10):
                (root / "b").rename(outside / "b")
                (root / "b").mkdir()
                (root / "b").rmdir()
                shutil.rmtree(outside / "b")
                (root / "b").mkdir()
                (root / "b" / f"f{number}").write_text("x")
                await r.watcher.flush()
                assert f"b/f{number}" in told.seen
                (root / "b" / f"f{number}").unlink()

        self.play(rig, story)

    def test_a_root_is_deleted_and_made_again(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "root"
            path.mkdir()
            root, told = await r.watch(path)
            for number in range(10):
                shutil.rmtree(path)
                (path / "sub").mkdir(parents=True)
                (path / "sub" / f"f{number}").write_text("x")
                await r.until(lambda n=number: f"sub/f{n}" in told.seen, f"f{number}")
            await r.until(lambda: root.state is RootState.LIVE, "live")

        self.play(rig, story)

    def test_a_root_is_renamed_away_and_replaced(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "root"
            (path / "sub").mkdir(parents=True)
            root, told = await r.watch(path)
            path.rename(tmp_path / "away")
            (path / "sub").mkdir(parents=True)
            await r.until(lambda: "" in told.doubted or len(told.scans) > 1, "looked at again")
            await r.until(lambda: root.state is RootState.LIVE and r.watcher.settled, "live again")
            (path / "sub" / "f").write_text("x")
            await r.until(lambda: "sub/f" in told.seen, "its file")

        self.play(rig, story)

    def test_a_missing_root_appears_at_any_depth(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "a" / "b" / "c"
            root, told = await r.watch(path)
            assert root.state.value == "waiting"
            path.mkdir(parents=True)
            (path / "first").write_text("x")
            await r.until(lambda: root.state is RootState.LIVE and "first" in told.seen, "live with its first file")

        self.play(rig, story)

    def test_a_file_root_over_replacement_and_symlink_flips(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for version in ("v1", "v2"):
                (tmp_path / version).mkdir()
                (tmp_path / version / "conf").write_text(version)
            (tmp_path / "..data").symlink_to("v1")
            (tmp_path / "conf").symlink_to("..data/conf")
            root, told = await r.watch(tmp_path / "conf")
            told.forget()
            (tmp_path / "next").symlink_to("v2")
            (tmp_path / "next").rename(tmp_path / "..data")
            await r.until(lambda: "" in told.seen and root.top == str(tmp_path / "v2"), "the flip")
            for number in range(5):
                told.forget()
                (tmp_path / "v2" / "new").write_text(f"{number}")
                (tmp_path / "v2" / "new").rename(tmp_path / "v2" / "conf")
                await r.watcher.flush()
                assert "" in told.seen
            (tmp_path / "v2" / "conf").unlink()
            await r.until(lambda: root.state is RootState.WAITING, "waiting")
            (tmp_path / "v2" / "conf").write_text("back")
            await r.until(lambda: root.state is RootState.LIVE, "live")

        self.play(rig, story)

    def test_overlapping_roots_and_one_goes(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            inner_path = tmp_path / "outer" / "inner"
            (inner_path / "deep").mkdir(parents=True)
            inner, told_inner = await r.watch(inner_path)
            _, told_outer = await r.watch(tmp_path / "outer")
            (inner_path / "f").write_text("x")
            await r.watcher.flush()
            assert "f" in told_inner.seen
            assert "inner/f" in told_outer.seen
            r.watcher.set_roots({inner.key: inner.subscribers})
            (inner_path / "deep" / "g").write_text("x")
            await r.watcher.flush()
            assert "deep/g" in told_inner.seen

        self.play(rig, story)

    def test_followed_symlinks_are_marked_when_their_target_changes(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            root, away = tmp_path / "root", tmp_path / "away"
            root.mkdir()
            away.mkdir()
            (away / "target").write_text("1")
            (root / "link").symlink_to(away / "target")
            _, told = await r.watch(root, follow=True)
            told.forget()
            (away / "target").write_text("2")
            await r.watcher.flush()
            assert "link" in told.seen

        self.play(rig, story)

    def test_names_of_any_bytes(self, rig: Rig, tmp_path: Path) -> None:
        names = [b"line\nbreak", b" spaces ", b"*?[", b"\xff\xfe", b"n" * 255]

        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            os.mkdir(os.path.join(os.fsencode(tmp_path), b"d\xff"))
            for name in [*names, *(b"d\xff/" + name for name in names)]:
                os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
            await r.watcher.flush()
            assert {os.fsdecode(name) for name in names} <= told.seen
            assert {os.fsdecode(b"d\xff/" + name) for name in names} <= told.seen

        self.play(rig, story)


def hints(told: Any, path: str) -> int:
    """All that was said of a path."""
    total = 0
    for marked, hint in told.marked:
        total |= hint if marked == path else 0
    return total


def closed(told: Any, path: str) -> bool:
    """True if the last word on a path is that it is complete."""
    last = [hint for marked, hint in told.marked if marked == path]
    return bool(last and last[-1] & Hint.CLOSED)


def watches(r: Any) -> int:
    """Watches held for trees, as the statistics have it."""
    return int(r.backend.statistics()["watches"])
