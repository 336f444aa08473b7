"""What is no file: symlinks and directories with rows of their own, as `types` asks for them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.checksum import walking
from filewatchd.actions.checksum.looking import look
from filewatchd.actions.checksum.options import Options, check
from filewatchd.actions.checksum.others import candidates, tops
from filewatchd.actions.checksum.seeing import Tracking, Wanted
from filewatchd.model import Kind, RuleSettings
from filewatchd.state.index.rows import Type
from tests.unit.actions.checksum.scene import Scene, story, written

ALL = ("files", "directories", "symlinks")
ODD = os.fsdecode(b"odd \xff\n\\'")


def typed(tmp_path: Path, **options: Any) -> Scene:
    """A tree with each of them, and a rule that wants them all."""
    scene = Scene(tmp_path, **{"types": ALL, **options})
    written(scene.root, ["file", "d/file", "d/e/file"])
    (scene.root / "empty").mkdir(exist_ok=True)
    (scene.root / "link").symlink_to("file")
    (scene.root / "d/broken").symlink_to(ODD)
    (scene.root / "to-directory").symlink_to("d")
    return scene


async def others(scene: Scene, *paths: str, whole: bool = False) -> None:
    """The daemon tells of these."""
    for path in paths:
        scene.ctx.other(str(scene.root), path, whole=whole)
    await scene.follow()


def types(scene: Scene) -> dict[str, str]:
    return {path: row.type.value for path, row in scene.rows().items()}


TREE = {
    "": "directory", "d/": "directory", "d/e/": "directory", "empty/": "directory", "file": "file", "d/file": "file",
    "d/e/file": "file", "link": "symlink", "d/broken": "symlink", "to-directory": "symlink",
}  # fmt: skip


# ---- a build


@story
async def test_a_build_knows_what_is_no_file(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        rows = scene.rows()
        assert types(scene) == TREE
        assert rows["link"].digest == hashlib.sha256(b"file").digest()
        assert rows["d/broken"].attributes.target == os.fsencode(ODD)
        assert rows["to-directory"].attributes.links == 1
        assert (rows["d/"].digest, rows["d/"].attributes.links, rows["d/"].identity[1:]) == (None, None, (0, 0, 0))
        assert scene.told() == []
        for mode in ("quick", "full", "quick"):
            await scene.verify(mode)
        assert scene.told() == []
        root = (await scene.ask("status")).roots[0]
        assert (root.files, root.symlinks, root.unverified) == (3, 3, 0)
        assert {(run.files, run.total) for run in (await scene.ask("runs")).runs} == {(3, 0), (3, 3)}


@story
async def test_processes_that_look_build_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with typed(tmp_path) as scene:
        alone = {path: row._replace(verified=0) for path, row in scene.rows().items()}
    monkeypatch.setattr(walking, "_MANY", 0)
    monkeypatch.setattr(walking, "_FEW", 0)
    (tmp_path / "state/index.db").unlink()
    async with Scene(tmp_path, types=ALL) as scene:
        assert {path: row._replace(verified=0) for path, row in scene.rows().items()} == alone
        await scene.verify()
        assert scene.told() == []


@story
async def test_files_alone_have_rows_unless_more_is_asked_for(tmp_path: Path) -> None:
    async with typed(tmp_path, types=("files",)) as scene:
        assert set(scene.rows()) == {"file", "d/file", "d/e/file"}
        (scene.root / "link").unlink()
        await others(scene, "link", whole=True)
        assert scene.told() == []


@story
async def test_patterns_leave_them_out(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        scene.ctx.standing = [g._replace(exclude=("/d/", "link")) for g in scene.ctx.grounds()]
        scene.ctx.scan(str(scene.root))
        await scene.follow()
        left = {"", "empty/", "file", "to-directory"}
        assert set(scene.rows()) == left
        await others(scene, "", whole=True)
        assert (set(scene.rows()), scene.told()) == (left, [])


# ---- what happens, told at once, or found by a walk


def change_all(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("d/file")
    (root / "d/broken").unlink()
    (root / "new-link").symlink_to("file")
    (root / "to-directory").rename(root / "d/renamed")
    (root / "d").chmod(0o777)
    (root / "made").mkdir()
    (root / "empty").rmdir()


CHANGED = {
    ("modified", "link"), ("deleted", "d/broken"), ("new", "new-link"), ("moved", "d/renamed"), ("metadata", "d/"),
    ("new", "made/"), ("deleted", "empty/"),
}  # fmt: skip
TOUCHED = ["link", "d/broken", "new-link", "to-directory", "d/renamed", "d", "made", "empty"]


@pytest.mark.parametrize("how", ["told", "quick", "full", "scan"])
@pytest.mark.parametrize("approval", ["none", "required"])
def test_what_became_of_them(tmp_path: Path, how: str, approval: str) -> None:
    @story
    async def run() -> None:
        async with typed(tmp_path, approval=approval) as scene:
            (scene.root / "keep").mkdir()  # takes the inode that a directory gives free
            await others(scene, "keep")
            await scene.ask("approve", all=True)
            change_all(scene.root)
            if how == "told":
                await others(scene, *TOUCHED)
            elif how == "scan":
                scene.ctx.scan(str(scene.root))
                await scene.follow()
            else:
                await scene.verify(how)
            found = [change for change in scene.changes() if change.path != "keep/"]
            assert {(change.verdict.value, change.path) for change in found} == CHANGED
            (retargeted,) = [change for change in found if change.path == "link"]
            assert retargeted.message == "target file -> d/file"
            assert retargeted.before is not None
            assert retargeted.before.type is Type.SYMLINK
            assert {change.state.value for change in found} == {"accepted" if approval == "none" else "pending"}
            for mode in ("quick", "full"):
                await scene.verify(mode)
            assert len(scene.changes()) == len(found) + 1  # nothing is told twice
            if approval == "required":
                await scene.ask("approve", all=True)
            await scene.verify()
            assert scene.told("pending", "open") == []

    run()


@story
async def test_a_directorys_times_and_size_are_no_change(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        for number in range(200):
            (scene.root / "empty" / f"a rather long name of a file {number}").mkdir()
        os.utime(scene.root / "d", (1, 1))
        await others(scene, "d")
        await scene.verify("full")
        assert {verdict for verdict, _ in scene.told()} == {"new"}


@story
async def test_what_is_put_back_waits_no_more(tmp_path: Path) -> None:
    async with typed(tmp_path, approval="required") as scene:
        link, directory = scene.root / "link", scene.root / "d"
        mode = directory.stat().st_mode
        for way in ("told", "quick"):
            link.unlink()
            link.symlink_to("elsewhere")
            directory.chmod(0o700)
            (scene.root / "gone").symlink_to("file")
            await others(scene, "link", "d", "gone")
            assert sorted(scene.told("pending")) == [("metadata", "d/"), ("modified", "link"), ("new", "gone")]
            link.unlink()
            link.symlink_to("file")
            directory.chmod(mode)
            (scene.root / "gone").unlink()
            if way == "told":
                await others(scene, "link", "d", "gone")
            else:
                await scene.verify("quick")
            assert scene.told("pending") == []
        assert not any(row.flags & 3 for row in scene.rows().values())


@story
async def test_what_is_rejected_stays_a_finding(tmp_path: Path) -> None:
    async with typed(tmp_path, approval="required") as scene:
        (scene.root / "link").unlink()
        (scene.root / "link").symlink_to("elsewhere")
        await others(scene, "link")
        await scene.ask("reject", path=str(scene.root / "link"))
        await scene.verify("full")
        assert scene.told("rejected") == [("modified", "link")]
        assert scene.rows()["link"].attributes.target == b"file"


# ---- one in another's place


@story
async def test_a_link_in_a_files_place_and_back(tmp_path: Path) -> None:
    async with typed(tmp_path, approval="required") as scene:
        path = scene.root / "d/file"
        path.unlink()
        path.symlink_to("d/file")  # its text is the file's content: so is its digest
        await scene.changed("d/file", kind=Kind.DELETED)
        (change,) = scene.changes("pending")
        assert (change.verdict.value, change.path, change.message) == (
            "modified",
            "d/file",
            "a symlink has its name now",
        )
        await scene.ask("approve", all=True)
        assert scene.rows()["d/file"].type is Type.SYMLINK
        await scene.verify()
        path.unlink()
        path.write_text("d/file")
        await others(scene, "d/file")  # that is a job's to tell
        assert scene.changes("pending") == []
        await scene.changed("d/file", kind=Kind.CREATED)
        (change,) = scene.changes("pending")
        assert (change.verdict.value, change.message) == ("modified", "a file has its name now")
        await scene.ask("approve", all=True)
        await scene.verify()
        assert (types(scene), scene.changes("pending", "open")) == (TREE, [])


@story
async def test_a_directory_in_a_files_place(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        (scene.root / "file").unlink()
        (scene.root / "file").mkdir()
        (scene.root / "file/link").symlink_to("x")
        await scene.changed("file", kind=Kind.DELETED)
        await others(scene, "file", whole=True)
        assert sorted(scene.told()) == [("deleted", "file"), ("new", "file/"), ("new", "file/link")]


# ---- whole directories


@story
async def test_a_directory_that_comes_or_goes_or_is_renamed_takes_all_along(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        root = scene.root
        (root / "new/inner").mkdir(parents=True)
        (root / "new/inner/link").symlink_to("x")
        await others(scene, "new", whole=True)
        assert sorted(scene.told()) == [("new", "new/"), ("new", "new/inner/"), ("new", "new/inner/link")]
        (root / "new").rename(root / "empty/now")
        await others(scene, "new", "empty/now", whole=True)
        moves = [(change.verdict.value, change.old_path or "", change.path) for change in scene.changes()[3:]]
        assert sorted(moves) == [
            ("moved", "new/", "empty/now/"),
            ("moved", "new/inner/", "empty/now/inner/"),
            ("moved", "new/inner/link", "empty/now/inner/link"),
        ]
        (root / "empty/now/inner/link").unlink()
        (root / "empty/now/inner").rmdir()
        (root / "empty/now").rmdir()
        await others(scene, "empty/now", whole=True)
        told = [(change.verdict.value, change.path) for change in scene.changes()[6:]]
        assert sorted(told) == [
            ("deleted", "empty/now/"), ("deleted", "empty/now/inner/"), ("deleted", "empty/now/inner/link"),
        ]  # fmt: skip


@story
async def test_a_root_that_is_gone_deletes_nothing(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        scene.root.rename(tmp_path / "away")
        await others(scene, "", "link", whole=True)
        assert types(scene) == TREE
        assert {verdict for verdict, _ in scene.told()} <= {"root-gone"}


@story
async def test_an_empty_root_is_no_finding(tmp_path: Path) -> None:
    async with Scene(tmp_path, types=ALL) as scene:
        await scene.verify()
        scene.root.chmod(0o711)
        await scene.verify("quick")
        assert scene.told() == [("metadata", "")]


@story
async def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    async with Scene(tmp_path, root=tmp_path / "file", types=ALL) as scene:
        assert types(scene) == {"": "file"}
        await scene.verify()
        (tmp_path / "file").write_text("other")
        await scene.verify()
        assert scene.told() == [("modified", "")]


@story
async def test_what_happens_behind_a_first_build_is_told_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = typed(tmp_path)
    real = walking.Walk.run

    async def overtaken(walk: walking.Walk) -> None:
        await real(walk)
        (scene.root / "link").unlink()
        (scene.root / "made").mkdir()
        scene.ctx.other(str(scene.root), "link")
        scene.ctx.other(str(scene.root), "made", whole=True)
        monkeypatch.setattr(walking.Walk, "run", real)
        task = scene.ctx.follow_ups.get("others")
        if task is not None:
            await task  # before the build is over

    monkeypatch.setattr(walking.Walk, "run", overtaken)
    async with scene:
        assert sorted(scene.told()) == [("deleted", "link"), ("new", "made/")]


# ---- other options


@story
async def test_types_gained_are_the_beginning_and_lost_ones_go_in_silence(tmp_path: Path) -> None:
    async with typed(tmp_path, types=("files",), approval="required") as scene:
        for wanted, left in (
            (ALL, set(TREE)),
            (("files", "symlinks"), {path for path, kind in TREE.items() if kind != "directory"}),
            (("files",), {"file", "d/file", "d/e/file"}),
            (("symlinks", "files", "directories"), set(TREE)),
        ):
            scene.options = Options(types=wanted, approval="required")  # type: ignore[arg-type]
            assert scene.action.reconfigure(scene.options)
            await scene.follow()
            assert (set(scene.rows()), scene.told()) == (left, [])
            await scene.verify()
            assert scene.told() == []


@story
async def test_an_index_of_files_alone_isnt_built_anew_by_a_restart(tmp_path: Path) -> None:
    async with typed(tmp_path, types=("files",)):
        pass
    async with Scene(tmp_path) as scene:
        assert [run.kind for run in (await scene.ask("runs")).runs] == ["build"]


@story
async def test_a_restart_finds_what_happened_meanwhile(tmp_path: Path) -> None:
    async with typed(tmp_path) as scene:
        pass
    (scene.root / "link").unlink()
    (scene.root / "d").chmod(0o777)
    async with Scene(tmp_path, types=ALL) as scene:
        assert sorted(scene.told()) == [("deleted", "link"), ("metadata", "d/")]


@story
async def test_no_symlink_is_rewritten(tmp_path: Path) -> None:
    async with typed(tmp_path, growing=True) as scene:
        (scene.root / "link").unlink()
        (scene.root / "link").symlink_to("elsewhere")
        await others(scene, "link")
        assert scene.told() == [("modified", "link")]  # and nothing was rewritten


@pytest.mark.parametrize(
    ("types", "follow", "message"),
    [(("symlinks",), False, "without files"), (("files", "symlinks"), True, "row of its own"), (ALL, False, "")],
)
def test_what_a_check_says(types: tuple[str, ...], follow: bool, message: str) -> None:
    rule = RuleSettings(name="r", roots=("/x",), actions=(), follow_symlinks=follow, changes=frozenset(Kind))
    problems = [problem.message for problem in check(Options(types=types), rule)]  # type: ignore[arg-type]
    assert (len(problems) == 1 and message in problems[0]) if message else not problems


# ---- looks


def test_a_symlink_on_the_way_is_followed_by_no_look(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/link").symlink_to("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "d").symlink_to(tmp_path / "outside")
    tracking = Tracking(symlinks=True, directories=True)
    seen = look(str(root), [Wanted("d", "link", ("sha256",)), Wanted("d", ""), Wanted("", "d", ("sha256",))], tracking)
    assert [each.presence.value for each in seen] == ["absent", "absent", "here"]
    assert seen[2].attributes.target == os.fsencode(tmp_path / "outside")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sets such attributes")
def test_a_symlinks_own_attributes_are_seen_and_not_its_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    os.setxattr(tmp_path / "file", "trusted.of", b"file")
    os.setxattr(tmp_path / "link", "trusted.of", b"link", follow_symlinks=False)
    (seen,) = look(str(tmp_path), [Wanted("", "link")], Tracking(xattr=True, symlinks=True))
    assert seen.attributes.xattr is not None
    assert b"link" in seen.attributes.xattr
    assert b"file" not in seen.attributes.xattr


def test_paths_that_may_be_meant() -> None:
    assert candidates(["", "a", "b/c"]) == ["", "a", "a/", "b/c", "b/c/"]
    assert tops(["a/b", "a", "a.b", "a/c/d", "b"]) == ["a", "a.b", "b"]
    assert tops(["a", "", "b"]) == [""]
