from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from filewatchd.errors import FatalError
from filewatchd.state.directories import runtime_directory, state_directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_they_are_made_with_their_modes_parents_too(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        state = state_directory(str(tmp_path / "var" / "state"))
        runtime = runtime_directory(str(tmp_path / "var" / "run"))
    finally:
        os.umask(before)
    assert (mode(Path(state)), mode(Path(runtime)), mode(tmp_path / "var")) == (0o700, 0o755, 0o755)


def test_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    place = tmp_path / "s"
    place.mkdir(mode=0o750)
    place.chmod(0o750)
    assert state_directory(str(place)) == str(place)
    assert mode(place) == 0o750


def test_a_link_to_a_good_directory_is_the_operators_choice(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert state_directory(str(tmp_path / "link")) == str(tmp_path / "link")


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert state_directory("s") == str(tmp_path / "s")


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def a_file(path: Path) -> None:
    path.write_bytes(b"")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("prepare", "why"),
    [(open_to_all, "others can write it; chmod 700"), (a_file, "isn't a directory"), (a_dangling_link, "No such file")],
)
def test_a_bad_one_is_refused(tmp_path: Path, prepare: Callable[[Path], None], why: str) -> None:
    prepare(tmp_path / "s")
    with pytest.raises(FatalError, match=why) as caught:
        state_directory(str(tmp_path / "s"))
    assert caught.value.exit_code == 77
    assert str(tmp_path / "s") in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory somebody else's")
def test_somebody_elses_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "s"
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)
    with pytest.raises(FatalError, match="uid 12345's; chown it to uid 0"):
        runtime_directory(str(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become somebody else")
def test_one_that_this_user_cannot_write_is_refused() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories let nobody else through
        os.chmod(place, 0o755)
        assert as_somebody_else(place) == 77


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_filesystem_that_is_read_only_is_named_as_that(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o ro,mode=700 none "$1" && exec "$0" -c "$2" "$1"'
    code = "import sys; from filewatchd.state.directories import state_directory; state_directory(sys.argv[1])"
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run([*inside, sys.executable, str(tmp_path), code], capture_output=True, text=True, check=False)
    assert "its filesystem is read-only; dmesg may tell why" in done.stderr


def as_somebody_else(place: str) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
            state_directory(place)
        except FatalError as error:
            code = 77 if "this user can't write it" in str(error) else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
