"""What is there at the beginning is no change, however it comes to be known; what waits for approval still waits."""

from __future__ import annotations

from pathlib import Path

from filewatchd.model import Kind
from filewatchd.testing import FakeClock
from tests.unit.actions.checksum.scene import Scene, story, written


@story
async def test_what_changes_before_a_build_comes_to_it_is_the_beginning(tmp_path: Path) -> None:
    scene = Scene(tmp_path, approval="required")
    written(scene.root, ["changed", "moved", "mode"])
    (scene.root / "made").write_text("x")
    await scene.action.recover()
    await scene.job(
        scene.change("changed"),
        scene.change("moved", Kind.MOVED, "before"),
        scene.change("mode", Kind.METADATA),
        scene.change("made", Kind.CREATED),
    )
    assert scene.told("pending") == [("new", "made")]
    assert set(scene.rows()) == {"changed", "moved", "mode"}
    async with scene:
        assert scene.told() == [("new", "made")]


@story
async def test_what_is_being_written_during_a_build_is_the_beginning(tmp_path: Path) -> None:
    clock = FakeClock()
    scene = Scene(tmp_path, clock, approval="required")
    written(scene.root, ["log", "other"])
    with (scene.root / "log").open("a"):
        await scene.__aenter__()
        assert set(scene.rows()) == {"other"}
    clock.advance(2)
    await scene.follow()
    assert set(scene.rows()) == {"log", "other"}
    assert scene.told() == []
    await scene.__aexit__()


@story
async def test_another_build_approves_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, approval="required")
    scene.ctx.rule = scene.ctx.rule._replace(exclude=("*.txt",))
    written(scene.root, ["a", "b.log"])
    async with scene:
        written(scene.root, ["new", "rejected"])
        await scene.changed("new", "rejected", kind=Kind.CREATED)
        (rejected,) = (change.id for change in scene.changes("pending") if change.path == "rejected")
        await scene.ask("reject", ids=(rejected,))
        written(scene.root, ["quietly", "c.txt"])  # no job tells of them
        scene.ctx.rule = scene.ctx.rule._replace(exclude=("*.log",))
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        assert set(scene.rows()) == {"a", "c.txt"}
        (scene.root / "new").write_text("more")
        await scene.changed("new")
        assert set(scene.rows()) == {"a", "c.txt"}
        assert sorted((change.state.value, change.path) for change in scene.changes("pending", "rejected")) == [
            ("pending", "new"), ("pending", "quietly"), ("rejected", "rejected"),
        ]  # fmt: skip


@story
async def test_changes_that_a_lost_journal_cannot_tell_are_found(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    written(scene.root, ["same", "changed", "gone", "moved"])
    async with scene:
        pass
    (scene.root / "changed").write_text("other")
    (scene.root / "gone").unlink()
    (scene.root / "moved").rename(scene.root / "there")
    written(scene.root, ["new"])
    scene = Scene(tmp_path)
    scene.ctx.standing = [ground._replace(since_ns=scene.clock.wall_ns() + 1) for ground in scene.ctx.grounds()]
    scene.clock.advance(1)
    async with scene:
        assert sorted(scene.told()) == [
            ("deleted", "gone"),
            ("modified", "changed"),
            ("moved", "there"),
            ("new", "new"),
        ]
        for _ in range(2):
            scene.ctx.scan(str(scene.root))
            await scene.follow()
        assert [run.kind for run in (await scene.ask("runs")).runs] == ["build", "build"]
