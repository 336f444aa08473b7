"""The action: builds, jobs, verifies, approvals, and what it does about files it can't trust."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from filewatchd.actions.checksum import glance, hashing, listing, looking, vanished, walking
from filewatchd.actions.checksum.hashing import SMALL
from filewatchd.actions.checksum.options import Options, Scrub
from filewatchd.actions.checksum.seeing import Presence, Seen
from filewatchd.actions.checksum.vanished import Vanished
from filewatchd.errors import ActionError
from filewatchd.model import FileIdentity, Kind
from filewatchd.state.index.rows import Record, Verdict
from filewatchd.testing import FakeClock
from filewatchd.work import opening
from tests.unit.actions.checksum.scene import Scene, story, written

ODD = os.fsdecode(b"odd \xff\n\\'")


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


async def built(tmp_path: Path, *names: str, **options: object) -> Scene:
    scene = Scene(tmp_path, **options)  # type: ignore[arg-type]
    written(scene.root, names)
    return scene


@story
async def test_a_build_knows_every_file(tmp_path: Path) -> None:
    names = ["a", "d/b", "d/e/c", ODD, f"d/{ODD}"]
    async with await built(tmp_path, *names) as scene:
        rows = scene.rows()
        assert {name: row.digest for name, row in rows.items()} == {n: digest(scene.root / n) for n in names}
        assert scene.told() == []  # what was there is no change
        assert (await scene.ask("status")).roots[0].files == len(names)
        run = (await scene.ask("runs")).runs[0]
        assert (run.kind, run.state, run.files) == ("build", "done", len(names))


@story
async def test_ten_idle_verifies_say_nothing(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b", ODD) as scene:
        for number in range(10):
            await scene.verify("quick" if number % 2 else "full")
        assert scene.told() == []
        assert scene.action.verdicts[Verdict.SAME] == 5 * 3  # a quick one looks at none


@story
async def test_jobs_tell_changes_apart(tmp_path: Path) -> None:
    async with await built(tmp_path, "written", "gone", "chmod", "touch", "moved", "older") as scene:
        root = scene.root
        (root / "written").write_text("other")
        (root / "gone").unlink()
        (root / "chmod").chmod(0o600)
        os.utime(root / "touch", (1, 1))
        (root / "moved").rename(root / "there")
        (root / "older").write_text("from the past")
        os.utime(root / "older", (1, 1))
        (root / "new").write_text("x")
        await scene.job(
            scene.change("gone", Kind.DELETED),
            scene.change("there", Kind.MOVED, "moved"),
            scene.change("written"),
            scene.change("chmod", Kind.METADATA),
            scene.change("touch"),
            scene.change("older"),
            scene.change("new", Kind.CREATED),
        )
        assert sorted(scene.told()) == [
            ("deleted", "gone"),
            ("metadata", "chmod"),
            ("modified", "written"),
            ("moved", "there"),
            ("new", "new"),
            ("older", "older"),
            ("touched", "touch"),
        ]
        rows = scene.rows()
        assert set(rows) == {"written", "chmod", "touch", "there", "older", "new"}
        assert rows["written"].digest == digest(root / "written")
        await scene.verify()
        assert len(scene.told()) == 7


@story
async def test_a_verify_tells_the_same(tmp_path: Path) -> None:
    async with await built(tmp_path, "d/written", "gone/a", "d/chmod", "moved/a", "moved/b") as scene:
        root = scene.root
        (root / "d/written").write_text("other")
        (root / "gone/a").unlink()
        (root / "gone").rmdir()
        (root / "d/chmod").chmod(0o600)
        (root / "moved").rename(root / "there")
        (root / "new").write_text("x")
        await scene.verify("quick")
        assert sorted(scene.told()) == [
            ("deleted", "gone/a"),
            ("metadata", "d/chmod"),
            ("modified", "d/written"),
            ("moved", "there/a"),
            ("moved", "there/b"),
            ("new", "new"),
        ]
        await scene.verify("full")
        assert len(scene.told()) == 6


@story
async def test_a_renamed_directory_is_not_read_again(tmp_path: Path) -> None:
    names = [f"d{number % 10}/{number}" for number in range(500)]
    async with await built(tmp_path, *("old/" + name for name in names)) as scene:
        (scene.root / "old").rename(scene.root / "new")
        before = scene.action.statistics()["hashed_bytes"]
        await scene.verify("quick")
        assert {verdict for verdict, _ in scene.told()} == {"moved"}
        assert scene.action.statistics()["hashed_bytes"] == before
        assert set(scene.rows()) == {f"new/{name}" for name in names}
        (scene.root / "new").rename(scene.root / "newer")
        await scene.job(*(scene.change(f"newer/{n}", Kind.MOVED, f"new/{n}") for n in names))
        assert scene.action.statistics()["hashed_bytes"] == before
        assert set(scene.rows()) == {f"newer/{name}" for name in names}


@story
async def test_a_file_that_vanished_and_comes_back_elsewhere_was_moved(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "b") as scene:
        content = (scene.root / "a").read_bytes()
        (scene.root / "a").unlink()
        await scene.changed("a", kind=Kind.DELETED)
        (scene.root / "c").write_bytes(content)  # another inode
        await scene.changed("c", kind=Kind.CREATED)
        assert scene.told() == [("deleted", "a"), ("moved", "c")]


def rot(path: Path) -> None:
    """Other content, with every stamp as it was; what a disk does. The ctime stays because the clock is ours."""
    found = path.stat()
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


async def corrupted(scene: Scene, name: str) -> None:
    """Make the index believe that the file's stamps are those of the row."""
    rot(scene.root / name)
    found = (scene.root / name).stat()
    with scene.action.index.edit() as edit:
        edit.connection.execute(
            "UPDATE files SET later = ? - mtime WHERE name = ?",
            (found.st_ctime_ns, os.fsencode(name.rpartition("/")[2])),
        )


@story
async def test_damage_stays_until_it_is_approved(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "b") as scene:
        old = digest(scene.root / "a")
        await corrupted(scene, "a")
        for mode in ("full", "quick", "full"):
            await scene.verify(mode)
        assert scene.told() == [("corrupt", "a")]
        assert scene.changes("open")[0].times == 2
        assert scene.rows()["a"].digest == old
        assert "corrupt" in scene.ctx.findings["index-corrupt"][0]
        os.utime(scene.root / "a", (5, 5))  # other times don't launder it
        await scene.changed("a")
        assert scene.told("open") == [("corrupt", "a")]
        answer = await scene.ask("approve", uid=1234, ids=(scene.changes("open")[0].id,))
        assert answer.changes == 1
        assert scene.changes("approved")[0].uid == 1234
        assert scene.rows()["a"].digest == digest(scene.root / "a") != old
        assert "index-corrupt" not in scene.ctx.findings
        await scene.verify()
        assert scene.told("open") == []


@story
async def test_damage_that_is_mended_is_cleared(tmp_path: Path) -> None:
    async with await built(tmp_path, "a") as scene:
        before = (scene.root / "a").read_bytes()
        await corrupted(scene, "a")
        await scene.verify()
        assert scene.told("open") == [("corrupt", "a")]
        (scene.root / "a").write_bytes(before)
        await scene.changed("a")
        assert scene.told("open") == []
        assert scene.told("cleared") == [("corrupt", "a")]
        assert "index-corrupt" not in scene.ctx.findings


@story
async def test_changes_wait_for_approval(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "gone", "moved", approval="required") as scene:
        old = digest(scene.root / "a")
        (scene.root / "a").write_text("other")
        (scene.root / "gone").unlink()
        (scene.root / "moved").rename(scene.root / "there")
        (scene.root / "new").write_text("new")
        await scene.job(
            scene.change("gone", Kind.DELETED),
            scene.change("there", Kind.MOVED, "moved"),
            scene.change("a"),
            scene.change("new", Kind.CREATED),
        )
        waiting = [("deleted", "gone"), ("modified", "a"), ("moved", "there"), ("new", "new")]
        for mode in ("quick", "full"):
            await scene.verify(mode)
            assert sorted(scene.told("pending")) == waiting
        assert scene.rows()["a"].digest == old
        rejected = next(change.id for change in scene.changes("pending") if change.path == "new")
        await scene.ask("reject", ids=(rejected,))
        assert scene.ctx.findings["index-rejected"][0].startswith(f"rejected: {scene.root / 'new'}; put back")
        others = tuple(change.id for change in scene.changes("pending"))
        await scene.ask("approve", ids=others)
        assert set(scene.rows()) == {"a", "there"}
        await scene.verify()
        assert scene.told("pending") == []
        assert scene.told("rejected") == [("new", "new")]
        assert set(scene.ctx.findings) == {"index-rejected"}
        (scene.root / "new").unlink()
        await scene.changed("new", kind=Kind.DELETED)
        assert scene.ctx.findings == {}


@story
async def test_a_whole_root_that_is_gone_deletes_nothing(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b") as scene:
        scene.root.rename(tmp_path / "elsewhere")
        scene.root.mkdir()
        await scene.verify()
        assert scene.told() == [("root-gone", "")]
        assert len(scene.rows()) == 2
        scene.root.rmdir()
        (tmp_path / "elsewhere").rename(scene.root)
        await scene.verify()
        assert scene.told("open") == []
        assert len(scene.rows()) == 2


@story
async def test_growing_files_may_grow(tmp_path: Path) -> None:
    async with await built(tmp_path, "log", "other", growing=True) as scene:
        with (scene.root / "log").open("a") as file:
            file.write("more")
            file.flush()
            await scene.changed("log")  # while it is open for writing
        assert scene.told() == [("grown", "log")]
        assert scene.rows()["log"].digest == digest(scene.root / "log")
        (scene.root / "other").write_text("OTHER and more")
        await scene.changed("other")
        assert scene.told("open") == [("rewritten", "other")]


@story
async def test_a_rotated_log_is_moved(tmp_path: Path) -> None:
    async with await built(tmp_path, "log") as scene:
        root = scene.root
        (root / "log").rename(root / "log.1")
        scene.ctx.tell("moved", str(root / "log"), str(root / "log.1"))
        await scene.follow()
        (root / "log").write_text("fresh")
        await scene.job(scene.change("log"), scene.change("log.1", Kind.CREATED))
        assert scene.told() == [("moved", "log.1"), ("new", "log")]
        (root / "log.1").unlink()
        (root / "log.1.gz").write_text("packed")
        scene.ctx.tell("archived", str(root / "log.1"), str(root / "log.1.gz"))
        await scene.follow()
        await scene.job(scene.change("log.1", Kind.DELETED), scene.change("log.1.gz", Kind.CREATED))
        assert scene.told()[2:] == [("moved", "log.1.gz")]
        assert scene.rows()["log.1.gz"].digest == digest(root / "log.1.gz")
        assert {change.label for change in scene.changes()} == {"rotation"}


@story
async def test_an_unstable_file_is_tried_again_and_then_told(tmp_path: Path) -> None:
    clock = FakeClock()
    scene = Scene(tmp_path, clock)
    written(scene.root, ["a"])
    with (scene.root / "a").open("a"):  # somebody has it open for writing
        async with scene:
            assert scene.rows() == {}
            for seconds in (1.1, 5.1, 20.1):
                assert scene.told() == []
                clock.advance(seconds)
                await scene.follow()
            assert scene.told("open") == [("unstable", "a")]
            assert scene.rows() == {}


@story
async def test_an_unstable_file_that_settles_is_taken(tmp_path: Path) -> None:
    clock = FakeClock()
    scene = Scene(tmp_path, clock)
    written(scene.root, ["a"])
    with (scene.root / "a").open("a"):
        await scene.__aenter__()
    clock.advance(2)
    await scene.follow()
    assert scene.rows()["a"].digest == digest(scene.root / "a")
    await scene.__aexit__()


@story
async def test_a_file_that_takes_for_ever_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await built(tmp_path) as scene:
        (scene.root / "hole").touch()
        os.truncate(scene.root / "hole", 1 << 40)
        written(scene.root, ["a", "b"])

        async def slowly(ctx: object, root: str, wanted: object, found: list[Seen], *_: object) -> None:
            if any(seen.presence is Presence.LARGE for seen in found):
                assert set(scene.rows()) == {"a", "b"}
                raise ActionError("it takes too long")

        monkeypatch.setattr(glance, "_read_large", slowly)
        with pytest.raises(ActionError, match="too long"):
            await scene.changed("hole", "a", "b", kind=Kind.CREATED)


@story
async def test_a_racy_row_is_read_again(tmp_path: Path) -> None:
    clock = FakeClock()
    scene = Scene(tmp_path, clock)
    written(scene.root, ["a"])
    scene.ctx.standing = [ground._replace(granularity_ns=2_000_000_000) for ground in scene.ctx.grounds()]
    async with scene:
        assert scene.rows()["a"].flags == 1
        scene.ctx.standing = None  # as if the clock had moved on
        clock.advance(3)
        await scene.follow()
        assert scene.rows()["a"].flags == 0
        assert scene.told() == []


@story
async def test_an_algorithm_is_taken_over_as_files_are_read(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "b") as scene:
        scene.action.reconfigure(scene.options.__class__(algorithm="blake3"))
        (scene.root / "a").write_text("other")
        await scene.changed("a")
        assert {name: row.algorithm for name, row in scene.rows().items()} == {"a": "blake3", "b": "sha256"}
        await scene.verify()
        assert {row.algorithm for row in scene.rows().values()} == {"blake3"}
        assert scene.told() == [("modified", "a")]


@story
async def test_a_build_that_fails_is_a_finding_until_it_is_built(tmp_path: Path) -> None:
    scene = await built(tmp_path, "a")
    with mock.patch.object(walking.Walk, "run", side_effect=OSError("no luck")):
        await scene.__aenter__()
    key = f"index-run:{scene.root}"
    assert "no luck" in scene.ctx.findings[key][0]
    scene.clock.advance(60.0)
    await asyncio.sleep(0)
    await scene.follow()
    assert key not in scene.ctx.findings
    assert set(scene.rows()) == {"a"}
    await scene.__aexit__()


@story
async def test_a_root_is_built_once_however_often_it_is_scanned(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "b.log") as scene:
        scene.ctx.rule = scene.ctx.rule._replace(exclude=("*.log",))
        runs, root = scene.action.runs, str(scene.root)
        await asyncio.gather(*(runs._begin(root, first=False) for _ in range(3)))
        await scene.follow()
        with scene.reader() as reader:
            assert [(run.kind, run.state) for run in reader.runs()] == [("build", "done")] * 2
        assert set(scene.rows()) == {"a"}


@story
async def test_a_run_is_taken_up_once(tmp_path: Path) -> None:
    async with await built(tmp_path, "a") as scene:
        with mock.patch.object(walking.Walk, "run", side_effect=OSError("no luck")):
            await scene.verify()
        with scene.reader() as reader:
            (run,) = reader.runs(kind="verify")
        assert run.state == "failed"
        twice = (scene.action.runs.resume(run.id) for _ in range(2))
        taken, refused = await asyncio.gather(*twice, return_exceptions=True)
        assert taken == run.id
        assert isinstance(refused, ActionError)
        await scene.follow()
        with scene.reader() as reader:
            assert [each.state for each in reader.runs(kind="verify")] == ["done"]


@story
async def test_what_was_counted_first_isnt_told_last(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", approval="required") as scene:
        slow = asyncio.Event()
        counted = asyncio.Event()

        async def upgrades() -> list[object]:
            if not counted.is_set():
                counted.set()
                await slow.wait()
            return []

        with mock.patch.object(scene.action.labelling, "upgrades", upgrades):
            (scene.root / "a").write_text("other")
            first = asyncio.ensure_future(scene.changed("a"))
            await counted.wait()
            (change,) = scene.changes("pending")
            second = asyncio.ensure_future(scene.ask("approve", ids=(change.id,)))
            for _ in range(100):  # it goes as far as it can
                await asyncio.sleep(0)
            assert not scene.changes("pending")
            slow.set()
            await asyncio.gather(first, second)
        assert scene.ctx.findings == {}


def test_many_files_in_turn_with_one_inode_are_not_remembered_for_ever() -> None:
    known = Vanished()
    with mock.patch.object(vanished, "_MOST", 10):
        for number in range(100):
            row = Record(FileIdentity(1, 1, number, number), "sha256", b"%d" % number)
            known.add("/srv", f"{number}", row)
    assert sum(known.by_digest("/srv", b"%d" % number)[0] is not None for number in range(100)) <= 10


@story
async def test_versions_are_kept_and_what_comes_back_is_older(tmp_path: Path) -> None:
    async with await built(tmp_path, "a") as scene:
        for text in ("second", "a"):
            (scene.root / "a").write_text(text)
            await scene.changed("a")
        assert scene.told() == [("modified", "a"), ("older", "a")]


@story
async def test_an_interrupted_verify_goes_on(tmp_path: Path) -> None:
    names = [f"d{number:02}/{file:03}" for number in range(30) for file in range(20)]
    with mock.patch.object(listing, "_BATCH", 50):
        async with await built(tmp_path, *names) as scene:
            action = scene.action
            settled = action.settled

            def halt(*_: object) -> None:
                for running in action.runs.running.values():
                    running.task.cancel()

            action.settled = halt  # type: ignore[method-assign, assignment]
            begun = (await scene.ask("verify", mode="full")).runs[0]
            tasks, scene.ctx.follow_ups = scene.ctx.follow_ups, {}
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            run = (await scene.ask("runs")).runs[0]
            assert run.state == "stopped"
            assert 0 < run.files < 600
            action.settled = settled  # type: ignore[method-assign]
            await scene.ask("resume", run=begun)
            await scene.follow()
            run = (await scene.ask("runs")).runs[0]
            assert (run.state, run.files) == ("done", 600)
            assert scene.told() == []


@story
async def test_a_scrub_finds_damage(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b", "d/c") as scene:
        await corrupted(scene, "d/b")
        scene.clock.advance(3600.0)
        scene.action.reconfigure(Options(scrub=Scrub(every=3600.0, rate=1e12, files=1e9)))
        await scene.follow()
        assert scene.told("open") == [("corrupt", "d/b")]
        run = (await scene.ask("runs")).runs[0]
        assert (run.kind, run.state, run.files) == ("scrub", "done", 3)


@story
async def test_bytes_of_batches_under_way_are_told_together(tmp_path: Path) -> None:
    size = SMALL + 1
    told: list[int] = []
    everybody = asyncio.Barrier(2)
    really = glance.look_at

    async def looks(*args: Any, apart: bool) -> list[Seen]:
        seen = await really(*args, apart=apart)
        async with everybody:
            told.extend(running.walk.reading for running in scene.action.runs.running.values() if running.walk)
        return seen

    async with await built(tmp_path) as scene:
        for name in ("a", "b"):
            (scene.root / name).write_bytes(bytes(size))
        await scene.verify()
        with mock.patch.object(listing, "_BATCH", 1), mock.patch.object(walking, "look_at", looks):
            await scene.verify()
        assert told == [2 * size] * 2
        (run,) = (run for run in (await scene.ask("runs")).runs[:1])
        assert (run.bytes, run.reading) == (2 * size, 0)


@story
async def test_a_verify_of_one_file_looks_at_nothing_else(tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        written(scene.root, ["a", "b", "d/c"])
        await scene.verify()
        with scene.reader() as reader:
            before = len(reader.runs())
        (scene.root / "b").write_text("other")
        (scene.root / "d/c").unlink()
        (scene.root / "new").write_text("new")
        for name in ("a", "new", "d/c"):
            await scene.verify(path=str(scene.root / name))
        await scene.verify("quick", path=str(scene.root / "a"))
        with scene.reader() as reader:
            runs = reader.runs()[: len(reader.runs()) - before]
        assert [run.files for run in runs] == [1] * 4
        assert scene.told()[-2:] == [("new", "new"), ("deleted", "d/c")]
        assert sorted(scene.rows()) == ["a", "b", "new"]


@story
async def test_a_verify_of_what_never_was_is_refused_and_finds_nothing(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b", "d/e/c") as scene:
        (scene.root / "link").symlink_to(scene.root / "d")
        for name in ("nothing", "d/nothing", "a/nothing", "link/b", "link/e"):
            with pytest.raises(ActionError, match="there is no file or directory"):
                await scene.verify(path=str(scene.root / name))
        assert scene.told() == []
        shutil.rmtree(scene.root / "d")
        await scene.verify(path=str(scene.root / "d"))
        assert sorted(scene.told()) == [("deleted", "d/b"), ("deleted", "d/e/c")]
        (scene.root / "empty").mkdir()
        await scene.verify(path=str(scene.root / "empty"))
        assert not scene.told("open")


@story
async def test_a_directory_that_goes_during_a_verify_was_deleted_not_unreadable(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b", "d/e/c", "z/y") as scene:
        spoils = {"d/e", "z"}

        def opens(root: str, relative: str) -> int:
            if relative in spoils:
                spoils.discard(relative)
                shutil.rmtree(scene.root / relative)
                if relative == "z":
                    (scene.root / "z").symlink_to("d")
            return opening.open_directory(root, relative)

        with mock.patch.object(listing, "open_directory", opens):
            await scene.verify()
        assert sorted(scene.told()) == [("deleted", "d/e/c"), ("deleted", "z/y")]


@story
async def test_what_could_not_be_read_and_is_gone_waits_no_more(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/b") as scene:
        (scene.root / "e").mkdir()
        (scene.root / "c").write_text("x")
        bad = OSError(errno.EIO, "Input/output error")
        really = os.scandir

        def lists(place: Any) -> Any:
            if isinstance(place, int) and os.readlink(f"/proc/self/fd/{place}").endswith("/e"):
                raise bad
            return really(place)

        def opens(name: str, *rest: Any, **more: Any) -> int:
            if name == "c":
                raise bad
            return hashing.open_file(name, *rest, **more)

        with mock.patch.object(os, "scandir", lists), mock.patch.object(looking, "open_file", opens):
            await scene.verify()
            assert sorted(scene.told("open")) == [("unreadable", "c"), ("unreadable", "e")]
            await scene.verify()
            assert sorted(scene.told("open")) == [("unreadable", "c"), ("unreadable", "e")]
        (scene.root / "e").rmdir()
        (scene.root / "c").unlink()
        await scene.verify()
        assert scene.told("open") == []


@story
async def test_other_patterns_are_another_build(tmp_path: Path) -> None:
    async with await built(tmp_path, "a.txt", "b.log", "d/c.log", "out/a.txt") as scene:
        assert len(scene.rows()) == 4
        scene.ctx.rule = scene.ctx.rule._replace(exclude=("*.log", "out/"))
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        assert set(scene.rows()) == {"a.txt"}
        scene.ctx.rule = scene.ctx.rule._replace(exclude=())
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        assert len(scene.rows()) == 4
        assert scene.told() == []
        hashed = scene.action.statistics()["hashed_bytes"]
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        assert scene.action.statistics()["hashed_bytes"] == hashed


@story
async def test_a_renamed_rule_keeps_its_rows(tmp_path: Path) -> None:
    async with await built(tmp_path, "a") as scene:
        pass
    scene = Scene(tmp_path)
    scene.ctx.rule = scene.ctx.rule._replace(name="other", renamed_from="rule")
    async with scene:
        assert [run.kind for run in (await scene.ask("runs")).runs] == ["build"]
        assert set(scene.rows()) == {"a"}


@story
async def test_names_of_one_file_that_move_and_wait_stay_as_they_were_told(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["old/x"])
        for name in ("y", "z"):
            os.link(scene.root / "old/x", scene.root / "old" / name)
        await scene.verify()
        await scene.ask("approve", all=True)
        os.rename(scene.root / "old", scene.root / "new")
        for _ in range(3):
            await scene.verify()
            waiting = [(change.old_path, change.path) for change in scene.changes("pending")]
            assert sorted(waiting) == [(f"old/{name}", f"new/{name}") for name in "xyz"]
        await scene.ask("approve", all=True)
        assert sorted(scene.rows()) == ["new/x", "new/y", "new/z"]


@story
async def test_equal_files_that_move_and_wait_are_all_told(tmp_path: Path) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        for name in ("a", "b", "c"):
            (scene.root / name).write_text("same")
        await scene.verify()
        await scene.ask("approve", all=True)
        for name in ("a", "b", "c"):
            (scene.root / name).rename(scene.root / f"new-{name}")
            (scene.root / f"new-{name}").write_text("same")
        for _ in range(2):
            await scene.verify()
            waiting = [(change.verdict.value, change.path) for change in scene.changes("pending")]
            assert sorted(waiting) == [("moved", "new-a"), ("moved", "new-b"), ("moved", "new-c")]
        await scene.ask("approve", all=True)
        assert sorted(scene.rows()) == ["new-a", "new-b", "new-c"]


@story
async def test_directories_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    async with await built(tmp_path, "a", "d/e/b", "d/c") as scene:
        shutil.rmtree(scene.root / "d")
        for _ in range(2):  # the first finds their files gone
            await scene.verify("quick")
        with scene.reader() as reader:
            assert [path for root in reader.roots() for _, path in reader.directories(root.id)] == [""]
        written(scene.root, ["d/c"])
        await scene.changed("d/c", kind=Kind.CREATED)
        assert set(scene.rows()) == {"a", "d/c"}


@pytest.mark.parametrize("grace", [10.0, 0.0])
@story
async def test_a_stop_waits_for_what_still_uses_the_index(tmp_path: Path, grace: float) -> None:
    """A walk that has just ended counts what waits; it did so in a closed index."""
    scene, ended, go_on = await built(tmp_path, "a"), asyncio.Event(), asyncio.Event()
    action = scene.action

    async def remember() -> None:
        ended.set()
        await go_on.wait()

    await action.recover()
    await scene.follow()
    action.labelling.remember = remember  # type: ignore[method-assign]
    (scene.root / "a").write_text("other")
    await scene.ask("verify", mode="full", path=None)
    await ended.wait()
    if grace:
        asyncio.get_running_loop().call_later(0.01, go_on.set)
    await action.stop(grace)
    action.follow("late", action.rewritten())
    found = await asyncio.gather(*scene.ctx.follow_ups.values(), return_exceptions=True)
    assert [type(error) for error in found if error is not None] == [asyncio.CancelledError] * (not grace)
