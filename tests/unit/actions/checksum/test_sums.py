"""The checksum file in the root: written after what changed, whoever dies meanwhile, and put back."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from filewatchd.actions.checksum.options import Options
from filewatchd.model import Kind
from tests.unit.actions.checksum.scene import Scene, story, written
from tests.unit.actions.checksum.test_kill import lives

ODD = os.fsdecode(b"odd \xff\n\\'")
NAMES = ("a", "d/b", ODD)


async def built(tmp_path: Path, *names: str, **options: object) -> Scene:
    (tmp_path / "root").mkdir(parents=True, exist_ok=True)
    scene = Scene(tmp_path, **options)  # type: ignore[arg-type]
    written(scene.root, names)
    return scene


def agrees(root: Path, name: str = "SUMS", count: int = len(NAMES), program: str = "sha256sum") -> None:
    """The program finds nothing to say, and no file is left out."""
    subprocess.run([program, "--quiet", "--strict", "-c", name], cwd=root, check=True)
    assert len((root / name).read_bytes().splitlines()) == count


def asked(scene: Scene) -> int:
    """How many jobs were asked for; those asked for until now are forgotten."""
    count = len(scene.ctx.requested)
    scene.ctx.requested.clear()
    return count


@story
async def test_sha256sum_reads_the_checksum_file(tmp_path: Path) -> None:
    async with await built(tmp_path, *NAMES, checksum_file="SUMS") as scene:
        assert [trigger.value for trigger, _ in scene.ctx.requested] == ["schedule"]
        job = await scene.job()
        sums = scene.root / "SUMS"
        assert [path for path, _ in job.writes] == [str(sums)]
        agrees(scene.root)
        await scene.changed("SUMS", kind=Kind.CREATED)
        assert "SUMS" not in scene.rows()


@story
async def test_a_checksum_file_that_cant_be_written_is_written_later(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", checksum_file="SUMS") as scene:
        (scene.root / "SUMS").mkdir()
        (scene.root / "SUMS/x").touch()
        await scene.job()
        key = f"checksum-file:{scene.root}"
        assert key in scene.ctx.findings
        left, other = scene.root / ".SUMS.0123456789abcdef.tmp", scene.root / ".SUMS.mine.tmp"  # by a kill; by others
        left.touch()
        other.touch()
        shutil.rmtree(scene.root / "SUMS")
        scene.clock.advance(60.0)
        await scene.job()
        assert key not in scene.ctx.findings
        assert (scene.root / "SUMS").read_text().endswith("  a\n")
        assert (left.exists(), other.exists()) == (False, True)


async def edited(scene: Scene) -> None:
    """A list is written, and then a file is."""
    await scene.job()
    (scene.root / "a").write_text("written later")
    await scene.changed("a")  # its job may write the list or not: it may be too soon
    await scene.job()


async def another_life(place: Path) -> None:
    """The list is right in it, and nobody asks for one in a third."""
    async with Scene(place, checksum_file="SUMS") as scene:
        await scene.changed("a")  # what its scan finds
        if asked(scene):
            await scene.job()
        agrees(scene.root)
    async with Scene(place, checksum_file="SUMS") as scene:
        assert asked(scene) == 0


def test_a_list_that_waited_is_written_whenever_the_daemon_died(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        root = place / "root"
        root.mkdir(parents=True)
        written(root, NAMES)
        if not lives(place, edited, number, checksum_file="SUMS"):
            break
        deaths += 1

        asyncio.run(another_life(place))
    assert deaths >= 8


@story
async def test_a_stop_while_a_list_waits(tmp_path: Path) -> None:
    async with await built(tmp_path, *NAMES, checksum_file="SUMS") as scene:
        await scene.job()
        scene.action._sums._not_before = scene.clock.monotonic() + 100.0
        (scene.root / "a").write_text("written later")
        await scene.changed("a")
    async with await built(tmp_path, checksum_file="SUMS") as scene:
        assert asked(scene) == 1
        await scene.job()
        agrees(scene.root)


@story
async def test_a_list_that_somebody_else_wrote_or_removed_is_put_back(tmp_path: Path) -> None:
    async with await built(tmp_path, *NAMES, checksum_file="SUMS") as scene:
        await scene.job()
        sums = scene.root / "SUMS"
        ours = sums.read_bytes()
        await scene.changed("SUMS")
        sums.chmod(0o600)
        await scene.changed("SUMS", kind=Kind.METADATA)
        scene.clock.advance(61.0)
        assert asked(scene) == 1  # the build's
        for spoil in (sums.unlink, lambda: sums.write_text("nothing"), sums.unlink):
            spoil()
            await scene.changed("SUMS")
            assert asked(scene) == 0  # not at once: two that want to write it would do nothing else
            scene.clock.advance(61.0)
            assert asked(scene) == 1
            await scene.job()
            assert sums.read_bytes() == ours
    for spoil in (sums.unlink, lambda: sums.write_text("nothing")):
        spoil()  # while nobody looks
        async with await built(tmp_path, checksum_file="SUMS") as scene:
            assert asked(scene) == 1
            await scene.job()
            assert sums.read_bytes() == ours


@story
async def test_other_options_are_another_list(tmp_path: Path) -> None:
    async with await built(tmp_path, *NAMES) as scene:
        assert asked(scene) == 0
        scene.action.reconfigure(Options(checksum_file="SUMS"))
        await scene.follow()
        assert asked(scene) == 1
        await scene.job()
        agrees(scene.root)
        scene.action.reconfigure(Options(checksum_file="SHA512", algorithm="sha512"))
        await scene.follow()
        scene.clock.advance(60.0)
        assert asked(scene) == 1
    (scene.root / "SUMS").unlink()
    async with await built(tmp_path, checksum_file="SHA512", algorithm="sha512") as scene:
        await scene.verify()
        assert asked(scene)
        await scene.job()
        agrees(scene.root, "SHA512", program="sha512sum")
