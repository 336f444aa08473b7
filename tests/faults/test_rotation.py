"""Rotation's own system calls failing in turn, the disk filling, a full and a vanishing archive folder, other writers.

One call on a rotation's files fails, the n-th (`tests.rotation.failing`); the rotation may fail, and is tried again.
Afterwards, without faults, every line is there once and nothing else is left.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from filewatchd.actions.rotate import freeing
from filewatchd.testing.waiting import wait_until
from filewatchd.work.ranges import collapse
from tests.amounts import amount
from tests.rotation import failing
from tests.rotation.trial import Trial, options, stopped
from tests.rotation.writing import line
from tests.scripts.mounts import Mounts, programs


@pytest.fixture(params=["tmpfs", "ext4"])
def small(
    request: pytest.FixtureRequest, tmp_path: Path, mounts: Mounts, program: Callable[[str], str]
) -> Callable[[int], Path]:
    """What mounts a filesystem that has room for so many bytes."""
    for name in programs(request.param):
        program(name)

    def mounted(room: int) -> Path:
        place = tmp_path / "small"
        place.mkdir()
        mounts.mount(request.param, str(place), size=str(room))
        if request.param != "tmpfs":
            leave(place, room)
        return place

    return mounted


def leave(place: Path, room: int) -> None:
    """Fill a filesystem until it has room for so many bytes."""
    with (place / "filling").open("wb") as filling:
        while (more := free(place) - room) > 0:
            try:
                os.posix_fallocate(filling.fileno(), os.fstat(filling.fileno()).st_size, more)
            except OSError:  # what is free is not all for files
                break
            os.fsync(filling.fileno())


def trial_in(tmp_path: Path, root: Path, method: str, lines: int = 1500) -> Trial:
    """A log that is due."""
    root.mkdir(exist_ok=True)
    trial = Trial(tmp_path / "trial", root, options(method))
    trial.fill(lines)
    return trial


def live_until(trial: Trial, done: Callable[[], bool], what: str, *through: str) -> None:
    """A life that ends when something is so."""
    process = trial.start(through=through)
    try:
        wait_until(lambda: done() or process.poll() is not None, what)
    finally:
        trial.stop_file.touch()
        status = process.wait(20)
        trial.stop_file.unlink()
    assert status == 0, trial.output()


@pytest.mark.parametrize("way", failing.WAYS)
def test_calls_that_fail_cost_nothing(way: str, tmp_path: Path, program: Callable[[str], str]) -> None:
    """One of some hundred; `python -m tests.rotation --calls` tries all of them."""
    program("strace")
    faults = list(failing.faults(way, tmp_path / "clean"))
    assert len(faults) > 30
    failing.fail(random.Random(way).choice(faults), tmp_path / "one")


def test_a_look_that_fails_is_not_taken_for_a_file_that_is_gone(tmp_path: Path, program: Callable[[str], str]) -> None:
    """It had a recovery remove the swapped log, all of it."""
    program("strace")
    failing.fail(failing.fault_of("exchange, swapped unwritten/statx/1/EIO/once"), tmp_path / "one")


def test_a_disk_that_is_full(tmp_path: Path, mounts: Mounts) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount("tmpfs", str(place), size="400k")
    trial = trial_in(tmp_path, place / "root", "copy", 2000)
    trial.options["compress"] = {"codec": "none"}
    ballast = place / "ballast"
    ballast.write_bytes(bytes(150_000))
    live_until(trial, lambda: "No space left" in trial.log.read_text(), "it can't")
    trial.look("while the disk is full")
    assert {path.name for path in trial.root.iterdir()} == {"app.log"}, "what was begun takes no room"
    ballast.unlink()
    live_until(trial, lambda: len(list(trial.root.iterdir())) == 2, "it can again")
    assert trial.finish() == 2000


def fill_up(path: Path) -> None:
    """Take every block that is left; what is only promised shows at fsync."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    os.fsync(file.fileno())


@pytest.mark.parametrize("method", ["exchange", "copy", "punch", "copytruncate"][: amount(2, 4)])
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"][: amount(1, 3)])
def test_a_filesystem_without_a_free_block(kind: str, method: str, tmp_path: Path, mounts: Mounts) -> None:
    """Blocks are allocated late there: not each write fails that has no room."""
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount(kind, str(place))
    trial = trial_in(tmp_path, place / "root", method, 2000)
    fill_up(place / "ballast")
    live_until(trial, lambda: "No space left" in trial.log.read_text(), "it can't")
    trial.look("while the disk is full")
    (place / "ballast").unlink()
    live_until(trial, lambda: any(path.suffix == ".gz" for path in archives(trial)), "it can again")
    assert trial.finish() == 2000


def archives(trial: Trial) -> list[Path]:
    """What has an archive's name."""
    return [path for path in trial.root.iterdir() if path.name.startswith("app.log-")]


def test_little_space_is_never_made_less(tmp_path: Path, small: Callable[[int], Path]) -> None:
    """A log of 40 chunks with room for 4: it is archived in place of itself."""
    place = small(820 << 10)
    trial = trial_in(tmp_path, place / "root", "punch", 8000)
    trial.short = True
    trial.options["compress"] = {"codec": "none"}
    with trial.live.open("ab"):
        least = free(place)
        process = trial.start()
        lowest = least
        while not any(path.name.startswith("app.log-") for path in trial.root.iterdir()):
            lowest = min(lowest, free(place))
            assert process.poll() is None, trial.output()
        trial.stop_file.touch()
        assert process.wait(20) == 0
    assert least - lowest < 3 * 16384 + 3 * 4096, (least, lowest)
    assert trial.finish() == 8000


@pytest.mark.parametrize("method", ["punch", "copytruncate"])
def test_little_space_where_archives_go_to_another_filesystem(
    method: str, tmp_path: Path, small: Callable[[int], Path]
) -> None:
    """It fills up while the log is being freed member by member; what is recorded by then stays, and it goes on."""
    place = small(400 << 10)
    trial = trial_in(tmp_path, tmp_path / "root", method, 3000)
    trial.short = True
    trial.options |= {"compress": {"codec": "none"}, "into": {"dir": str(place / "old")}}
    ballast = place / "ballast"
    ballast.write_bytes(bytes(250_000))
    live_until(trial, lambda: "No space left" in trial.log.read_text(), "it can't")
    assert any(path.stat().st_size >= 16384 for path in (place / "old").iterdir()), "members were written"
    trial.look("while there is no room for archives")
    ballast.unlink()
    live_until(trial, lambda: any(path.name.startswith("app.log-") for path in (place / "old").iterdir()), "it can")
    assert trial.finish() == 3000


def free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def test_a_folder_for_archives_that_vanishes_again_and_again(tmp_path: Path) -> None:
    trial = trial_in(tmp_path, tmp_path / "root", "copy")
    trial.options["into"] = {"dir": "old"}
    old = trial.root / "old"
    live_until(trial, lambda: old.is_dir() and any(old.iterdir()), "an archive is there")
    moved = tmp_path / "moved"
    old.rename(moved)
    trial.fill(1500)
    live_until(trial, lambda: old.is_dir() and any(old.iterdir()), "the folder is made again")
    for path in moved.iterdir():
        path.rename(old / path.name)
    assert trial.finish() == 3000


@pytest.mark.parametrize("method", ["exchange", "copy", "punch"])
@pytest.mark.parametrize("death", [("MEMBER", "after"), ("NAME", "before")])
def test_a_folder_that_vanishes_before_its_archives_name_is_recorded(
    death: tuple[str, str], method: str, tmp_path: Path
) -> None:
    """All of it was written, and its row says so; its source is there, so it is made anew."""
    trial = trial_in(tmp_path, tmp_path / "root", method)
    trial.options["into"] = {"dir": "old"}
    trial.die(*death)
    (trial.root / "old").rename(tmp_path / "moved")
    assert trial.finish() == 1500


@pytest.mark.parametrize("method", ["exchange", "punch"])
def test_an_unfinished_archive_that_is_deleted_takes_what_was_freed_and_no_more(method: str, tmp_path: Path) -> None:
    trial = trial_in(tmp_path, tmp_path / "root", method, 6000)
    old, process = packing(trial)
    process.kill()
    process.wait()
    shutil.rmtree(old)
    assert lost(trial, old) > 0


@pytest.mark.parametrize("method", ["exchange", "punch"])
def test_nothing_more_is_freed_for_an_archive_that_was_deleted(method: str, tmp_path: Path) -> None:
    """While it is being written: what was freed by then is lost, and told; the rest isn't written into nowhere."""
    trial = trial_in(tmp_path, tmp_path / "root", method, 20000)
    old, process = packing(trial)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: stopped(process.pid), "it stands still")
    (unfinished,) = old.iterdir()
    most = (members(unfinished) + 1) * 16384
    shutil.rmtree(old)
    process.send_signal(signal.SIGCONT)
    trial.stop_file.touch()
    assert process.wait(20) == 0, trial.output()
    trial.stop_file.unlink()
    assert lost(trial, old) <= most


def packing(trial: Trial) -> tuple[Path, subprocess.Popen[bytes]]:
    """A life that is in the middle of an archive, where space is short; the archive's folder, and the process."""
    trial.short = True
    trial.options |= {"compress": {"codec": "lz4"}, "into": {"dir": "old"}}
    old, process = trial.root / "old", trial.start()
    while not any(members(path) > 3 for path in (old.iterdir() if old.exists() else ())):
        assert process.poll() is None, trial.output()
    return old, process


def lost(trial: Trial, old: Path) -> int:
    """How many bytes are told as lost, once the rest is archived; that rest must be there, whole."""
    live_until(trial, lambda: any(path.name.startswith("app.log-") for path in old.glob("*")), "the rest is archived")
    (told,) = {int(each.replace(",", "")) for each in re.findall(r" and ([\d,]+) bytes with it", trial.log.read_text())}
    assert trial.read() == b"".join(line("filler", number) for number in range(trial.count()))[told:]
    return told


def members(path: Path) -> int:
    """How many chunks an archive that is being written has."""
    with suppress(OSError):
        return path.read_bytes().count(b"\x04\x22\x4d\x18")  # an lz4 frame's magic number
    return 0


def test_a_writer_that_stands_still_holds_up_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "trial", tmp_path / "root", options("collapse"))
    trial.root.mkdir()
    trial.write("append", "append")
    wait_until(lambda: trial.live.stat().st_size > 40_000, "there is something to rotate")
    trial.signal(signal.SIGSTOP)
    live_until(trial, lambda: any(path.suffix == ".gz" for path in trial.root.iterdir()), "it is rotated")
    trial.signal(signal.SIGCONT)
    live_until(trial, lambda: len(list(trial.root.iterdir())) > 3, "and again")
    assert trial.finish() > 0


_DECIDE = """
import sys
from filewatchd.actions.rotate.deciding import decide
from filewatchd.actions.rotate.examining import inspect
facts = inspect(sys.argv[1], sys.argv[2], 0)
print(facts.initial, decide("auto", "punch", False, facts).text)
"""


def test_in_a_pid_namespace_nothing_is_proven(tmp_path: Path, program: Callable[[str], str]) -> None:
    """A writer outside can't be seen there, so what appends all the same is punched."""
    if os.geteuid() != 0:
        pytest.skip("only root makes pid namespaces")
    trial = trial_in(tmp_path, tmp_path / "root", "auto")
    inside = [program("unshare"), "--pid", "--fork", "--mount-proc", sys.executable, "-c", _DECIDE]
    with trial.live.open("ab"):
        found = subprocess.run([*inside, str(trial.live), str(trial.root)], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("False punch: ")
    assert "no writer can be seen" in found.stdout
    assert "pid namespace" in found.stdout


_OPEN_LATE = "import os, sys; print(os.fstat(os.open(sys.argv[1], os.O_RDWR)).st_size)"


def test_who_opens_the_log_between_the_last_look_and_the_cut_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write at an offset that is another one after the cut."""
    if os.geteuid() != 0:
        pytest.skip("only root may hold up who opens a file")
    log = tmp_path / "app.log"
    log.write_bytes(bytes(65536))
    late: list[subprocess.Popen[bytes]] = []

    def cut(fd: int, length: int) -> None:
        late.append(subprocess.Popen([sys.executable, "-S", "-c", _OPEN_LATE, str(log)], stdout=subprocess.PIPE))
        waits_in = Path(f"/proc/{late[0].pid}/wchan")
        wait_until(lambda: "fanotify" in waits_in.read_text(), "it is held up")
        collapse(fd, length)

    monkeypatch.setattr(freeing, "collapse", cut)
    with log.open("r+b") as file:
        assert freeing.cut_off(file.fileno(), 32768, proven=False)
    assert late[0].communicate(timeout=20)[0] == b"32768\n", "it opened what was left"


@pytest.mark.parametrize("how", ["plain", "mapped"])
def test_a_writer_that_does_not_append_is_never_cut_off(how: str, tmp_path: Path) -> None:
    """It opens the log late, or maps it and closes its descriptor: `collapse` is refused, `auto` punches."""
    root = tmp_path / "root"
    trial = trial_in(tmp_path, root, "collapse")
    script = {
        "plain": "import os, sys; os.open(sys.argv[1], os.O_RDWR)",
        "mapped": "import mmap, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd)",
    }[how]
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; print(); sys.stdout.flush(); sys.stdin.read()", str(trial.live)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        live_until(trial, lambda: "without O_APPEND" in trial.log.read_text(), "it is refused")
        assert [path.name for path in root.iterdir()] == ["app.log"]
        trial.options["method"] = "auto"
        live_until(trial, lambda: any(path.suffix == ".gz" for path in root.iterdir()), "it is archived")
        assert trial.live.stat().st_blocks * 512 < trial.live.stat().st_size, "and punched"
        trial.look("while it has it open")
        writer.communicate(b"")
    assert trial.finish() == 1500
