from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import portalocker
import pytest

from filewatchd.errors import FatalError
from filewatchd.state.lock import InstanceLock, process_started
from filewatchd.testing.clock import FakeClock

HOLD = """
import sys
from filewatchd.state.lock import InstanceLock
lock = InstanceLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
LEAVE_A_CHILD = """
import os, sys
from filewatchd.state.lock import InstanceLock
lock = InstanceLock(sys.argv[1])
lock.acquire()
{leave}
print("held", flush=True)
sys.stdin.read()
"""
FORK = """
ready, told = os.pipe()
if os.fork() == 0:
    os.write(told, b"x")
    os.read(0, 1)
    os._exit(0)
os.read(ready, 1)
"""
SPAWN = "import subprocess; subprocess.Popen(['sleep', '1000'])"
SHARE = "import subprocess; os.set_inheritable(lock._fd, True); subprocess.Popen(['sleep', '1000'], close_fds=False)"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "filewatchd.lock")


def hold(path: str, script: str = HOLD) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_second_start_names_who_holds_it_and_since_when(path: str) -> None:
    holder = hold(path)
    try:
        with pytest.raises(
            FatalError, match=rf"runs already: pid {holder.pid} has held .* since 20\d\d-.*Z;"
        ) as caught:
            InstanceLock(path).acquire()
        assert caught.value.exit_code == 75
    finally:
        end(holder)


def test_after_kill_9_the_file_left_behind_is_no_obstacle(path: str) -> None:
    end(hold(path))
    assert os.path.exists(path)
    with InstanceLock(path):
        pass
    assert os.path.exists(path)


def test_what_is_written_inside(path: str) -> None:
    with InstanceLock(path):
        assert os.stat(path).st_mode & 0o777 == 0o600
    Path(path).write_text("x" * 500)
    with InstanceLock(path, clock=FakeClock()):
        text = Path(path).read_text()
    assert text == f"pid {os.getpid()}\nstarted {process_started(os.getpid())}\nsince 2025-06-15T15:06:40Z\n"


def test_releasing_lets_the_next_one_in(path: str) -> None:
    lock = InstanceLock(path)
    lock.acquire()
    with pytest.raises(FatalError, match="runs already"):
        InstanceLock(path).acquire()
    lock.release()
    lock.release()
    with InstanceLock(path):
        pass


@pytest.mark.parametrize("leave", [FORK, SPAWN])
def test_neither_a_fork_nor_a_command_keeps_it(path: str, leave: str) -> None:
    holder = hold(path, LEAVE_A_CHILD.format(leave=leave))
    try:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with InstanceLock(path):
            pass
    finally:
        end(holder)


def test_a_child_that_keeps_it_all_the_same_is_told_from_a_running_daemon(path: str) -> None:
    holder = hold(path, LEAVE_A_CHILD.format(leave=SHARE))
    try:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with pytest.raises(FatalError, match=rf"left behind holds its lock: pid {holder.pid} .* has ended"):
            InstanceLock(path).acquire()
    finally:
        end(holder)


@pytest.mark.parametrize("text", ["", "pid x\nstarted 1\nsince y\n", "\xff\xfe", "pid 1\n"])
def test_a_holder_that_has_not_written_yet(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="latin-1")
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FatalError, match="another process holds"):
            InstanceLock(path).acquire()


def test_a_symlink_is_refused(path: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    os.symlink(tmp_path / "victim", path)
    with pytest.raises(FatalError, match="symbolic link; remove it") as caught:
        InstanceLock(path).acquire()
    assert caught.value.exit_code == 77
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_a_fifo_a_directory_and_a_hard_link_are_refused(path: str, tmp_path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(FatalError, match="no regular file"):
        InstanceLock(path).acquire()
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(FatalError, match="Is a directory"):
        InstanceLock(path).acquire()
    os.rmdir(path)
    (tmp_path / "precious").write_bytes(b"mine")
    os.link(tmp_path / "precious", path)
    with pytest.raises(FatalError, match="no regular file of its own"):
        InstanceLock(path).acquire()
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"No such file.*set --state-dir") as caught:
        InstanceLock(str(tmp_path / "gone" / "lock")).acquire()
    assert caught.value.exit_code == 77


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file somebody else's")
def test_somebody_elses_file_is_refused(path: str) -> None:
    Path(path).write_bytes(b"")
    os.chown(path, 12345, 12345)
    with pytest.raises(FatalError, match="belongs to uid 12345") as caught:
        InstanceLock(path).acquire()
    assert caught.value.exit_code == 77


def test_a_full_disk_is_said(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FatalError, match="can't be written: No space left"):
        InstanceLock(path).acquire()


def test_a_filesystem_without_locks_is_said(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, flags: int) -> None:
        raise portalocker.LockException("No locks available")

    monkeypatch.setattr(portalocker, "lock", refuse)
    with pytest.raises(FatalError, match="local filesystem"):
        InstanceLock(path).acquire()


def test_when_a_process_started() -> None:
    assert process_started(os.getpid()) > 0
    assert process_started(2**22 + 1) == -1
