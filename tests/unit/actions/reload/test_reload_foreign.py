"""What no version can keep isn't exchanged away; and what somebody puts there at the last moment isn't, either."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import reload
from filewatchd.actions.reload import foreign, publishing
from filewatchd.actions.reload.states import State
from filewatchd.actions.reload.store import Store
from filewatchd.errors import ActionError
from filewatchd.model import OK
from filewatchd.testing import FakeJob
from filewatchd.work.exchange import exchange
from tests.unit.actions.reload.scene import Scene, save, within


def publishes(tmp_path: Path) -> dict[str, Any]:
    return {"mode": "publish", "publish": {"from": str(tmp_path / "etc"), "to": str(tmp_path / "live")}}


def checkout(live: Path) -> Path:
    (live / "sub/.git").mkdir(parents=True)
    (live / "sub/.git/HEAD").write_text("all that was ever committed")
    return live / "sub/.git/HEAD"


def fifo(live: Path) -> Path:
    os.mkfifo(live / "fifo")
    return live / "fifo"


def listening(live: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{live}/s")
    return live / "s"


@pytest.mark.parametrize("make", [checkout, fifo, listening])
def test_a_live_directory_with_what_no_version_can_keep_is_not_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    (tmp_path / "live").mkdir()
    made = make(Path("live"))

    async def work(scene: Scene) -> None:
        scene.file.write_text("one")
        with pytest.raises(ActionError, match=f"live/.* no version can keep it when {tmp_path}/live is ex") as caught:
            await scene.action.run(FakeJob())
        assert not caught.value.retryable
        assert os.path.lexists(made)
        assert "move it out of there" in scene.ctx.findings["reload"][0]
        with pytest.raises(ActionError, match="move it out"):
            await scene.ask("plan")
        shutil.move(made.parent if made.name == "HEAD" else made, tmp_path / "away")
        assert await scene.action.run(FakeJob()) is OK
        assert (Path("live/app.conf").read_text(), "reload" in scene.ctx.findings) == ("one", False)

    within(work, tmp_path, **publishes(tmp_path))


def test_a_tree_that_is_somebodys_stays_when_a_link_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    kept = checkout(tmp_path / "theirs")
    (tmp_path / "live").symlink_to("theirs")

    async def work(scene: Scene) -> None:
        for text in ("one", "two", "three"):
            await save(scene, text)
        assert (tmp_path / "live/app.conf").read_text() == "three"

    within(work, tmp_path, **publishes(tmp_path))
    assert kept.exists()


def test_what_comes_in_at_the_last_moment_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = publishing.switch

    def late(live: str, digest: str) -> str:
        checkout(tmp_path / "live")
        return switch(live, digest)

    async def work(scene: Scene) -> None:
        for text in ("one", "two", "three"):
            await save(scene, text)
            monkeypatch.setattr(publishing, "switch", late)
        told = scene.ctx.findings["reload-kept"][0]
        assert f"what it was is {tmp_path}/live.kept-by-filewatchd-1; move it away" in told
        await scene.action._look()
        assert "reload-kept" in scene.ctx.findings
        for name, text in (("", "one"), ("-1", "two")):
            aside = tmp_path / f"live.kept-by-filewatchd{name}"
            assert ((aside / "app.conf").read_text(), (aside / "sub/.git/HEAD").exists()) == (text, True)
            shutil.rmtree(aside)
        await scene.action._look()
        assert "reload-kept" not in scene.ctx.findings

    within(work, tmp_path, **publishes(tmp_path))
    assert not list(tmp_path.glob(".live*"))


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
@pytest.mark.parametrize("becomes", ["file", "link"])
def test_who_replaces_the_live_path_at_the_last_moment_has_it_left_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool, becomes: str
) -> None:
    live, swap = tmp_path / "live", exchange
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
    if linked:
        live.symlink_to("first")

    def late(one: str, other: str) -> None:
        monkeypatch.setattr(publishing, "exchange", swap)
        live.rename(tmp_path / "was")
        if becomes == "file":
            live.write_text("theirs")
        else:
            live.symlink_to("other")
        swap(one, other)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        monkeypatch.setattr(publishing, "exchange", late)
        with pytest.raises(ActionError, match=f"{live} was replaced meanwhile"):
            await save(scene, "two")
        assert live.read_text() == "theirs" if becomes == "file" else os.readlink(live) == "other"
        assert (scene.record.state, scene.record.applied) == (State.RETRYING, 1)

    within(work, tmp_path, **publishes(tmp_path))


@pytest.mark.parametrize("call", ["readlink", "lstat"])
def test_what_the_system_will_not_say_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """os.path.islink says that it is none: the link became a directory."""
    live, real = tmp_path / "live", getattr(os, call)
    (tmp_path / "first").mkdir()
    live.symlink_to("first")

    def fails(path: Any, *args: Any, **more: Any) -> Any:
        if path == str(live):
            raise OSError(errno.EIO, "Input/output error", path)
        return real(path, *args, **more)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        monkeypatch.setattr(os, call, fails)
        with pytest.raises(ActionError, match="Input/output error"):
            await save(scene, "two")
        monkeypatch.undo()
        assert live.is_symlink()
        assert (live / "app.conf").read_text() == "one"
        assert (await save(scene, None)).verdict == "ok"

    within(work, tmp_path, **publishes(tmp_path))


def test_a_set_that_can_not_be_looked_at_keeps_its_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.path.exists says that it isn't there: its contents were nobody's."""

    async def work(scene: Scene) -> None:
        store: Store = scene.action._desk.store
        for text in ("one", "two"):
            await save(scene, text)
        for name in ("stat", "lstat"):
            monkeypatch.setattr(os, name, _fails)
        store.prune([scene.version(1).digest])
        monkeypatch.undo()
        assert store.content(store.load(scene.version(1).digest)["0/app.conf"]) == b"one"

    within(work, tmp_path)


def _fails(path: Any, *_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, "Input/output error", path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_is_mounted_below_is_seen(tmp_path: Path) -> None:
    """A mount goes where its directory goes; there it would be emptied."""
    place = tmp_path / "a live\\one"
    (place / "volume").mkdir(parents=True)
    (tmp_path / "link").symlink_to(place)
    ask = f"from filewatchd.actions.reload.foreign import refuse; refuse({str(tmp_path / 'link')!r})"
    script = f'mount --bind "$0" "$1" || exit 9; exec "{sys.executable}" -c "$2"'

    def said(at: Path) -> str:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(tmp_path), str(at), ask]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode == 9:
            pytest.skip(ended.stderr)
        return ended.stderr.strip().split("\n")[-1]

    assert f"{place}/volume is mounted there, and no version can keep it" in said(place / "volume")
    assert "is a mount point (a volume, or a unit's ReadWritePaths=)" in said(place)
    assert foreign.foreign(str(tmp_path / "link")) == ""


# ---- links, as Debian's nginx has them in sites-enabled


def test_links_that_lead_to_the_live_place_lead_to_the_set_itself(tmp_path: Path) -> None:
    """The file that is live now isn't part of the next set: one publish is enough, and a version can be put back."""
    live = tmp_path / "live"

    async def work(scene: Scene) -> None:
        (scene.root / "enabled").symlink_to(f"{live}/app.conf")
        (scene.root / "folder").symlink_to(live)
        for number, text in enumerate(("one", "two"), 1):
            await save(scene, text)
            assert ((live / "enabled").read_text(), scene.record.live) == (text, number)
            await save(scene, None)
            assert scene.asked == []  # there is nothing new in what was published
        await scene.action._look()
        assert (len(scene.record.versions), scene.ctx.findings) == (2, {})
        await scene.ask("rollback", reload.answers.Which(version="1"))
        await save(scene, None)
        assert (scene.file.read_text(), (live / "enabled").read_text()) == ("one", "one")

    within(work, tmp_path, **publishes(tmp_path))


def test_a_link_that_leads_back_to_the_source_is_told(tmp_path: Path) -> None:
    """The service would read there what nobody has checked."""

    async def work(scene: Scene) -> None:
        (scene.root / "enabled").symlink_to(scene.file)
        await save(scene, "one")
        told = f"{scene.root}/enabled leads to {scene.root}, so that the service reads what isn't checked"
        assert scene.ctx.findings["reload-source"][0].startswith(told)
        (scene.root / "enabled").unlink()
        (scene.root / "enabled").symlink_to("app.conf")
        await save(scene, None)
        assert "reload-source" not in scene.ctx.findings

    within(work, tmp_path, **publishes(tmp_path))


def test_a_directory_of_a_containers_image_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlayfs says EXDEV to who renames one."""

    def refuses(one: str, other: str) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link", one, None, other)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        monkeypatch.setattr(publishing, "exchange", refuses)
        for attempt in (1, 3):
            with pytest.raises(ActionError, match=f"mv {tmp_path}/live {tmp_path}/live.old && cp -a") as caught:
                await save(scene, "two", attempt=attempt)
        assert caught.value.retryable
        assert "version 2 couldn't be published" in scene.ctx.findings["reload"][0]
        monkeypatch.undo()
        await save(scene, None)
        assert (scene.ctx.findings, scene.record.live) == ({}, 2)

    within(work, tmp_path, **publishes(tmp_path))
