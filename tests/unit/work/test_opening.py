"""Safe opening against what a hostile user may put in the way."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from filewatchd.errors import ActionError
from filewatchd.work import opening
from filewatchd.work.files import safe_open


@pytest.fixture(params=["openat2", "walk"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own resolution, and the walk by components where it lacks it."""
    if request.param == "walk":

        def missing(*args: object) -> int:
            raise OSError(errno.ENOSYS, "no openat2")

        monkeypatch.setattr(opening, "openat2", missing)


def read(path: Path, beneath: Path, **more: int) -> bytes:
    fd = safe_open(str(path), str(beneath), **more)
    try:
        assert not os.get_inheritable(fd)
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_regular_file_opens(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("text")
    assert read(deep / "file", tmp_path) == b"text"
    assert read(deep / "file", tmp_path, owner=os.geteuid()) == b"text"
    fd = safe_open(f"{deep}//./file", str(tmp_path), os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"+")
    os.close(fd)
    assert (deep / "file").read_text() == "text+"


def test_the_directory_itself_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("text")
    (tmp_path / "link").symlink_to("real")
    assert read(tmp_path / "link" / "file", tmp_path / "link") == b"text"


def test_links_below_are_refused_at_every_step(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "real" / "link").symlink_to("file")
    (tmp_path / "directory").symlink_to("real")
    for path in (tmp_path / "real" / "link", tmp_path / "directory" / "file"):
        with pytest.raises(ActionError, match=f"{path} isn't opened") as refused:
            read(path, tmp_path)
        assert not refused.value.retryable


@pytest.mark.parametrize("path", ["../etc/passwd", "a/../../file", "/elsewhere/file", "", "."])
def test_what_is_not_below_is_a_mistake(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="is not below"):
        safe_open(path if path.startswith("/") else f"{tmp_path}/{path}", str(tmp_path))


def test_only_regular_files_with_one_name_and_the_right_owner(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "one").touch()
    os.link(tmp_path / "one", tmp_path / "two")
    (tmp_path / "mine").touch()
    cases = {"fifo": "regular file", "directory": "regular file", "two": "2 names"}
    for name, why in cases.items():
        with pytest.raises(ActionError, match=why):
            safe_open(str(tmp_path / name), str(tmp_path))
    with pytest.raises(ActionError, match="belongs to uid"):
        safe_open(str(tmp_path / "mine"), str(tmp_path), owner=os.geteuid() + 1)


def test_the_systems_own_errors_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("missing", FileNotFoundError), ("file/below", NotADirectoryError)):
        with pytest.raises(error):
            safe_open(str(tmp_path / name), str(tmp_path))


def test_it_neither_creates_nor_truncates(tmp_path: Path) -> None:
    for flags in (os.O_CREAT, os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL):
        with pytest.raises(ValueError, match="neither creates nor truncates"):
            safe_open(str(tmp_path / "file"), str(tmp_path), flags)


def test_no_descriptor_leaks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    before = os.listdir("/proc/self/fd")
    read(tmp_path / "file", tmp_path)
    for name in ("link", "missing"):
        with pytest.raises((ActionError, OSError)):
            read(tmp_path / name, tmp_path)
    assert os.listdir("/proc/self/fd") == before
