"""What every backend has to tell of files and trees: one class of stories, a subclass per backend.

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

from filewatchd.model import Hint
from filewatchd.rules.match import Selection
from filewatchd.watch.backends.base import Backend
from filewatchd.work.pool import Pool

Rig = Callable[..., Any]


class Played:
    """A subclass says which backend, and what of it is as the best have it."""

    closes = True  # it tells when a file is closed
    pairs = True  # it tells the two sides of a rename

    def backend(self, pool: Pool) -> Backend:
        raise NotImplementedError

    def directories(self, r: Any) -> int:
        """How many directories it covers for trees, as its statistics have it."""
        return int(r.backend.statistics()["watches"])

    def complete(self, told: Any, path: str) -> bool:
        """True if the last word on a path is that it is complete, or if that is never said."""
        last = [hint for marked, hint in told.marked if marked == path]
        return bool(last) and (not self.closes or bool(last[-1] & Hint.CLOSED))

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


class Stories(Played):
    """Files and trees below a root."""

    def test_a_file_is_created_modified_and_deleted(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            (tmp_path / "a").write_text("x")
            await r.watcher.flush()
            assert self.complete(told, "a")
            told.forget()
            with (tmp_path / "a").open("a") as file:
                file.write("y")
                file.flush()
                await r.watcher.flush()
                assert hints(told, "a") & Hint.WRITE
                assert not self.closes or not self.complete(told, "a"), "still open"
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
            assert told.pairs == ([("a", "sub/b")] if self.pairs else [])
            assert {"a", "sub/b"} <= told.seen
            assert self.complete(told, "sub/b")
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
            before = self.directories(r)
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
            await r.until(lambda: self.directories(r) == before, "the watches that went with it are given back")
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

    def test_directories_change_places_in_one_go(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for name in ("a", "b", "c"):
                (tmp_path / name / "deep").mkdir(parents=True)
                (tmp_path / name / "deep" / f"in-{name}").write_text("x")
            _, told = await r.watch(tmp_path)
            told.forget()
            (tmp_path / "c").rename(tmp_path / "d")
            (tmp_path / "b").rename(tmp_path / "c")
            (tmp_path / "a").rename(tmp_path / "b")
            await r.watcher.flush()
            assert {"a", "b", "c"} <= set(told.doubted)
            assert {"b/deep/in-a", "c/deep/in-b", "d/deep/in-c"} <= told.seen
            told.forget()
            for name in ("b", "c", "d"):
                (tmp_path / name / "deep" / "later").write_text("x")
            await r.watcher.flush()
            assert told.seen == {"b/deep/later", "c/deep/later", "d/deep/later"}

        self.play(rig, story)

    def test_excluded_directories_are_not_covered(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for number in range(20):
                (tmp_path / "out" / f"d{number}").mkdir(parents=True)
            (tmp_path / "keep").mkdir()
            _, told = await r.watch(tmp_path, selection=Selection([], ["out/"]))
            before = self.directories(r)
            assert before < 20
            (tmp_path / "out" / "later").mkdir()
            (tmp_path / "out" / "later" / "file").write_text("x")
            (tmp_path / "keep" / "later").mkdir()
            await r.watcher.flush()
            assert self.directories(r) == before + 1, "only the wanted one is added"
            assert not told.seen

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
