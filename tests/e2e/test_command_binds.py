"""A command that is shown other files in the place of those that are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import wait_until
from filewatchd.work.command import Bind, Finished
from filewatchd.work.failures import PlaceError
from tests.e2e.commanding import Desk, with_desk

SUCCESS = Finished(0, None, False, 0)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A directory that is there, and one beside it with other files."""
    for name in ("live", "staged"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    tmp_path.chmod(0o755)
    return tmp_path / "live"


def bound(live: Path) -> tuple[Bind, ...]:
    return (Bind(str(live.parent / "staged"), str(live)),)


def test_only_the_command_sees_them(live: Path) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("cat", f"{live}/file", binds=bound(live)) == SUCCESS
        assert await desk.run("cat", f"{live}/file") == SUCCESS

    async def text(desk: Desk) -> str:
        await scene(desk)
        return desk.text

    assert with_desk(live.parent / "state", text) == "stagedlive"
    assert str(live) not in Path("/proc/mounts").read_text()


def test_it_can_not_write_them(live: Path) -> None:
    async def scene(desk: Desk) -> str:
        assert (await desk.run("sh", "-c", f"echo new > {live}/file", binds=bound(live))).code
        return desk.text

    assert "Read-only file system" in with_desk(live.parent / "state", scene)
    assert (live.parent / "staged/file").read_text() == "staged"


@root_only
def test_it_may_be_another_user(live: Path) -> None:
    async def scene(desk: Desk) -> str:
        binds = (Bind(f"{live.parent}/staged", "/mnt"),)  # the way there is root's alone, and isn't gone
        assert await desk.run("sh", "-c", "id -un; cat /mnt/file", binds=binds, user="nobody") == SUCCESS
        return desk.text

    assert with_desk(live.parent / "state", scene) == "nobody\nstaged"


def test_a_file_stands_for_a_file(live: Path) -> None:
    async def scene(desk: Desk) -> str:
        binds = (Bind(f"{live.parent}/staged/file", f"{live}/file"),)
        assert await desk.run("cat", f"{live}/file", binds=binds) == SUCCESS
        return desk.text

    assert with_desk(live.parent / "state", scene) == "staged"


def test_what_is_not_there_says_nothing_of_the_next_time(live: Path) -> None:
    """Somebody moves a directory about: that is no lack of rights, for which a weaker way would be taken for good."""

    async def scene(desk: Desk) -> None:
        for bind in (Bind(f"{live.parent}/none", str(live)), Bind(f"{live.parent}/staged", f"{live}/gone")):
            with pytest.raises(
                ActionError, match=r"can't show 'cat' other files in the place of .*: No such"
            ) as caught:
                await desk.run("cat", f"{live}/file", binds=(bind,))
            assert (caught.type is PlaceError, caught.value.retryable) == (False, True)

    with_desk(live.parent / "state", scene)


def test_it_ends_with_all_it_started(live: Path) -> None:
    async def scene(desk: Desk) -> None:
        script = f"(sleep 100000.5 &) ; cat {live}/file"
        assert (await desk.run("sh", "-c", script, binds=bound(live))).leftover == 1

    with_desk(live.parent / "state", scene)
    wait_until(lambda: str(live) not in Path("/proc/mounts").read_text(), "no mount is left")
