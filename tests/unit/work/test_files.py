"""Looking at real files: what counts as one, what is racy, who is writing."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from filewatchd.model import FileIdentity, Look
from filewatchd.work import files
from filewatchd.work.files import has_writers, look_many, writers_of

SECOND = 1_000_000_000


def look(path: Path | str, *, writers: bool = False, granularity: int = 0, follow: bool = False) -> Look:
    return look_many([str(path)], [writers] if writers else None, granularity, [follow], [len(str(path))])[0]


def identity(path: Path) -> FileIdentity:
    found = path.stat()
    return FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@pytest.fixture
def leases(tmp_path: Path) -> None:
    """Skips where the test's own filesystem knows no leases."""
    probe = tmp_path / "probe"
    probe.touch()
    if has_writers(str(probe)) is None:
        pytest.skip("leases tell nothing on this filesystem")


def test_regular_files_have_an_identity_and_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b", "a", os.fsdecode(b"\xff\n"))]
    for path in paths:
        path.write_bytes(os.fsencode(path.name))
    os.link(paths[0], tmp_path / "c")
    count = len(paths) + 1
    looks = look_many([str(path) for path in [*paths, tmp_path / "missing"]], None, 0, [False] * count, [0] * count)
    assert [found.identity for found in looks] == [*map(identity, paths), None]
    assert [found.nlink for found in looks[:3]] == [2, 1, 1]
    assert looks[3] == Look(None)


def test_below_the_root_nothing_is_reached_through_a_link(tmp_path: Path) -> None:
    """The root's own path may lead through links; a directory below it, whose place a link has taken, is gone."""
    (tmp_path / "there/real").mkdir(parents=True)
    (tmp_path / "root").symlink_to("there")
    (tmp_path / "there/link").symlink_to("real")
    (tmp_path / "there/real/file").touch()
    (tmp_path / "there/real/loop").symlink_to("..")
    root = str(tmp_path / "root")
    names = ["real/file", "link/file", "real/loop/real/file"]
    looks = look_many([f"{root}/{name}" for name in names], None, 0, [True] * 3, [len(root)] * 3)
    assert [found.identity for found in looks] == [identity(tmp_path / "there/real/file"), None, None]
    looks = look_many(["/tmp/no/such", "/proc/self/root/etc/passwd"], None, 0, [False] * 2, [1, 1])
    assert looks == [Look(None), Look(None)], "/proc/self is a link, and the root is /"


def test_what_is_no_regular_file_is_absent_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("fifo", "directory", "socket"):
            assert look(tmp_path / name, writers=True) == Look(None)
    assert look("/dev/null", writers=True) == Look(None)


def test_links_count_only_where_they_are_followed_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    links = {"to-file": "file", "dangling": "missing", "loop": "loop", "to-directory": ".", "to-device": "/dev/null"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    assert [look(tmp_path / name).identity for name in links] == [None] * 5
    assert [look(tmp_path / name, follow=True).identity for name in links] == [identity(file)] + [None] * 4
    assert look(tmp_path / "loop", follow=True).error == 0


def test_errors_other_than_absence_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert look(tmp_path / "file" / "below") == Look(None)
    assert look(tmp_path / ("x" * 300)) == Look(None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", Mock(side_effect=OSError(errno.EIO, "")))
        assert look(tmp_path / "file") == Look(None, error=errno.EIO)


def test_fresh_stamps_are_racy_where_stamps_are_coarse(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert look(file, granularity=2 * SECOND).racy
    assert not look(file, granularity=0).racy


@pytest.mark.parametrize(
    ("mtime", "ctime", "racy"),
    [
        (-60, -60, False),
        (-1, -60, True),
        (-60, -1, True),
        (0, 0, True),
        (1, 1, True),  # a server's clock a little ahead
        (60, -60, False),  # set into the future: a write would put it back
        (60, 0, True),
    ],
)
def test_a_stamp_is_racy_where_a_later_write_may_repeat_it(mtime: int, ctime: int, racy: bool) -> None:
    now = time.time_ns()
    assert files.is_racy(now + mtime * SECOND, now + ctime * SECOND, now - 2 * SECOND, 2 * SECOND) is racy


def test_old_files_are_not_racy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    later = time.time_ns() + 60 * SECOND
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: later)
    assert not look(file, granularity=2 * SECOND).racy


@pytest.mark.usefixtures("leases")
def test_writers_are_seen_however_they_write(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 4096)
    assert look(file, writers=True).writers is False
    for mode in ("ab", "r+b"):
        with file.open(mode):
            assert look(file, writers=True).writers is True
    with file.open("rb"):
        assert look(file, writers=True).writers is False
    with file.open("r+b") as opened:
        mapping = mmap.mmap(opened.fileno(), 0)
    assert has_writers(str(file)) is True  # the mapping alone
    mapping.close()
    assert has_writers(str(file)) is False


@pytest.mark.usefixtures("leases")
def test_only_those_wanted_are_asked_for_writers(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with file.open("w"):
        looks = look_many([str(file)] * 2, [True, False], 0, [False, False], [0, 0])
    assert [found.writers for found in looks] == [True, False]


@pytest.mark.usefixtures("leases")
def test_writers_through_a_followed_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with (tmp_path / "file").open("w"):
        assert look(tmp_path / "link", writers=True, follow=True).writers is True
    assert has_writers(str(tmp_path / "link")) is None


def test_writers_of_what_is_no_file_are_unknown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert has_writers(str(tmp_path / "fifo")) is None
    assert has_writers(str(tmp_path / "missing")) is None
    assert has_writers("/proc/self/status") is None  # no filesystem where a lease tells


@pytest.mark.usefixtures("leases")
def test_probing_never_holds_up_or_kills_anybody(tmp_path: Path) -> None:
    """A writer that comes in the middle of many probes: nobody gets a signal but SIGURG, which is ignored."""
    file = tmp_path / "file"
    file.touch()
    before = signal.getsignal(signal.SIGIO)
    script = "import sys\nfor _ in range(3000): open(sys.argv[1], 'a').close()"
    with subprocess.Popen([sys.executable, "-c", script, str(file)]) as writer:
        answers = set()
        busy = threading.Thread(target=lambda: [sum(range(1000)) for _ in range(2000)])  # wants the interpreter's lock
        busy.start()
        while writer.poll() is None:
            answers.add(has_writers(str(file)))
        busy.join()
        assert writer.returncode == 0
    assert answers <= {True, False}
    assert signal.getsignal(signal.SIGIO) == before


def test_those_who_write_are_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert writers_of(str(file)) == []
    with file.open("rb"):
        assert writers_of(str(file)) == []
    with file.open("a"):
        ((pid, program),) = writers_of(str(file))
    assert pid == os.getpid()
    assert program == Path("/proc/self/comm").read_text().rstrip("\n")
    assert writers_of(str(tmp_path / "missing")) == []
