"""Where folders stand: on filesystems, on bind mounts of the one around, and on none of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.actions.rotate.standing import check, is_mounted, point_of
from filewatchd.errors import ActionError
from filewatchd.work import mounted
from tests.scripts.mounts import Mounts


@pytest.fixture
def around(tmp_path: Path, mounts: Mounts) -> Path:
    """A filesystem in which other things are mounted; its name isn't an easy one."""
    place = tmp_path / "a place"
    place.mkdir()
    mounts.mount("tmpfs", str(place))
    (place / "data/app").mkdir(parents=True)
    (place / "log/app").mkdir(parents=True)
    return place


def test_a_folder_stands_where_its_filesystem_is_mounted(around: Path, mounts: Mounts) -> None:
    log = around / "log"
    assert point_of(str(log / "app")) == point_of(str(log / "to/be")) == str(around)
    mounts.mount("tmpfs", str(log))
    assert point_of(str(log)) == point_of(str(log / "to/be")) == str(log)
    assert is_mounted(str(log))
    mounts.umount(str(log))
    assert not is_mounted(str(log))


def test_a_bind_mount_of_the_filesystem_around_is_one(around: Path, mounts: Mounts) -> None:
    log = around / "log"
    mounts.bind(str(around / "data"), str(log))
    assert log.stat().st_dev == around.stat().st_dev
    assert point_of(str(log / "app")) == point_of(str(log / "to/be")) == str(log)
    check(None, str(log), str(log))
    fd = os.open(log / "app", os.O_PATH)
    try:
        check(fd, str(log / "app"), str(log))
        mounts.detach(str(log))
        check(fd, str(log / "app"), str(log))  # whoever has it open goes on in it
    finally:
        os.close(fd)
    assert not is_mounted(str(log))
    fd = os.open(log / "app", os.O_PATH)
    try:
        with pytest.raises(ActionError, match=f"nothing is mounted at {log}, where {log}/app was: mount it again"):
            check(fd, str(log / "app"), str(log))
    finally:
        os.close(fd)


def test_a_bind_mount_onto_itself_is_none(around: Path, mounts: Mounts) -> None:
    """As systemd makes them for `ReadWritePaths=`: what is beneath is the same."""
    log = around / "log"
    mounts.bind(str(log), str(log))
    assert mounted.mounted(str(log)).number != mounted.mounted(str(around)).number
    assert point_of(str(log / "app")) == str(around)
    assert not is_mounted(str(log))
    mounts.bind(str(around / "data"), str(log / "app"))
    assert point_of(str(log / "app")) == str(log / "app")
    mounts.bind(str(log / "app"), str(log / "app"))  # which is another one than beneath
    assert point_of(str(log / "app/to/be")) == str(log / "app")


def test_an_older_kernel_tells_by_the_device(around: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    log = around / "log"
    mounts.bind(str(around / "data"), str(log))
    monkeypatch.setattr(mounted, "_STATX_MNT_ID", 0)
    assert point_of(str(log)) == str(around)
    mounts.mount("tmpfs", str(log))
    assert point_of(str(log)) == str(log)
