"""What every backend has to tell of roots and globs, which come, go and are replaced: a subclass per backend."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from filewatchd.model import RootState
from tests.unit.watch.stories import Played, Rig


class RootStories(Played):
    """Roots over whatever happens to their path."""

    def test_a_root_is_deleted_and_made_again(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "up" / "root"
            path.mkdir(parents=True)
            root, told = await r.watch(path)
            for number in range(10):
                shutil.rmtree(path.parent)
                (path / "sub").mkdir(parents=True)
                (path / "sub" / f"f{number}").write_text("x")
                await r.watcher.flush()
                assert f"sub/f{number}" in told.seen
            shutil.rmtree(path)
            await r.watcher.flush()
            assert root.state.value == "waiting"
            assert told.doubted[-1] == ""
            path.mkdir()
            (path / "last").write_text("x")
            await r.watcher.flush()
            assert root.state.value == "live"
            assert "last" in told.seen

        self.play(rig, story)

    def test_a_root_is_renamed_away_and_back(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "up" / "root"
            path.mkdir(parents=True)
            root, told = await r.watch(path)
            (tmp_path / "up").rename(tmp_path / "away")
            await r.watcher.flush()
            assert root.state.value == "waiting"
            assert "" in told.doubted
            (tmp_path / "away").rename(tmp_path / "up")
            await r.watcher.flush()
            assert root.state.value == "live"
            (path / "f").write_text("x")
            await r.watcher.flush()
            assert "f" in told.seen

        self.play(rig, story)

    def test_a_root_is_renamed_away_and_replaced(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "root"
            (path / "sub").mkdir(parents=True)
            root, told = await r.watch(path)
            path.rename(tmp_path / "away")
            (path / "sub").mkdir(parents=True)
            await r.watcher.flush()
            assert "" in told.doubted or len(told.scans) > 1
            assert root.state.value == "live"
            (path / "sub" / "f").write_text("x")
            await r.watcher.flush()
            assert "sub/f" in told.seen

        self.play(rig, story)

    def test_a_root_replaced_by_a_symlink_follows_it(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
            link = tmp_path / "current"
            link.symlink_to("one")
            root, told = await r.watch(link)
            (tmp_path / "one" / "a").write_text("x")
            await r.watcher.flush()
            assert "a" in told.seen
            (tmp_path / "next").symlink_to("two")
            (tmp_path / "next").rename(link)
            await r.watcher.flush()
            assert root.top == str(tmp_path / "two")
            assert root.state.value == "live"
            (tmp_path / "two" / "b").write_text("x")
            await r.watcher.flush()
            assert "b" in told.seen

        self.play(rig, story)

    def test_a_root_is_no_prefix_of_a_sibling(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for name in ("a", "ab"):
                (tmp_path / name).mkdir()
            _, told = await r.watch(tmp_path / "a")
            _, other = await r.watch(tmp_path / "ab")
            (tmp_path / "ab" / "f").write_text("x")
            await r.watcher.flush()
            assert "f" in other.seen
            assert not told.seen

        self.play(rig, story)

    def test_a_root_that_is_not_recursive_sees_only_its_own_files(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "sub").mkdir()
            _, told = await r.watch(tmp_path, recursive=False)
            (tmp_path / "sub" / "f").write_text("x")
            (tmp_path / "g").write_text("x")
            await r.watcher.flush()
            assert told.seen == {"g"}

        self.play(rig, story)

    def test_globs_gain_and_lose_members_also_behind_a_symlink(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            (tmp_path / "real" / "one" / "logs").mkdir(parents=True)
            (tmp_path / "way").symlink_to("hop")
            (tmp_path / "hop").symlink_to("real")
            pattern = f"{tmp_path}/way/*/logs"
            r.watcher.set_globs([pattern])
            glob = r.watcher.globs[pattern]
            await r.watcher.flush()
            assert glob.members == [f"{tmp_path}/way/one/logs"]
            (tmp_path / "real" / "two").mkdir()
            await r.watcher.flush()
            (tmp_path / "real" / "two" / "logs").mkdir()
            await r.watcher.flush()
            assert len(glob.members) == 2
            shutil.rmtree(tmp_path / "real" / "one")
            await r.watcher.flush()
            assert glob.members == [f"{tmp_path}/way/two/logs"]
            (tmp_path / "other" / "three" / "logs").mkdir(parents=True)
            (tmp_path / "next").symlink_to("other")
            (tmp_path / "next").rename(tmp_path / "hop")
            await r.watcher.flush()
            assert glob.members == [f"{tmp_path}/way/three/logs"]

        self.play(rig, story)

    def test_a_missing_root_appears_at_any_depth(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            path = tmp_path / "a" / "b" / "c"
            root, told = await r.watch(path)
            assert root.state.value == "waiting"
            path.mkdir(parents=True)
            (path / "first").write_text("x")
            await r.until(lambda: root.state is RootState.LIVE and "first" in told.seen, "live without any flush")
            assert told.appeared[-1]
            assert root.came_ns == told.came[-1] > 0

        self.play(rig, story)

    def test_a_root_that_is_there_never_came(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            _, told = await r.watch(tmp_path)
            await r.until(lambda: told.scans, "it was scanned")
            assert set(told.came) == {0}

        self.play(rig, story)

    def test_a_file_root_over_replacement_and_symlink_flips(self, rig: Rig, tmp_path: Path) -> None:
        async def story(r: Any) -> None:
            for version in ("v1", "v2"):
                (tmp_path / version).mkdir()
                (tmp_path / version / "conf").write_text(version)
            (tmp_path / "..data").symlink_to("v1")
            (tmp_path / "conf").symlink_to("..data/conf")
            root, told = await r.watch(tmp_path / "conf")
            await r.watcher.flush()
            told.forget()
            (tmp_path / "next").symlink_to("v2")
            (tmp_path / "next").rename(tmp_path / "..data")
            await r.watcher.flush()
            assert "" in told.seen
            assert root.top == str(tmp_path / "v2")
            for number in range(5):
                told.forget()
                (tmp_path / "v2" / "new").write_text(f"{number}")
                (tmp_path / "v2" / "new").rename(tmp_path / "v2" / "conf")
                await r.watcher.flush()
                assert "" in told.seen
            (tmp_path / "v2" / "conf").unlink()
            await r.watcher.flush()
            assert root.state.value == "waiting"
            (tmp_path / "v2" / "conf").write_text("back")
            await r.watcher.flush()
            assert root.state.value == "live"

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
