"""Filesystems that are unmounted in the middle of a rotation, lazily, and mounted again: the archives', and the log's.

Whoever has a file open goes on in what nobody else sees; whoever opens a path comes to the bare directory of the mount
point. Nothing may be written there, and nothing that isn't found there may be taken for gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from filewatchd.testing.waiting import wait_until
from tests.amounts import SOAK
from tests.rotation.trial import Trial, options, stopped
from tests.scripts.mounts import Mounts, programs


class Away:
    """An ext4 that comes and goes, or a directory of the filesystem around it."""

    def __init__(self, mounts: Mounts, place: Path, behind: Path | None) -> None:
        self._mounts = mounts
        self.place = place
        self._behind = behind
        for folder in filter(None, (place, behind)):
            folder.mkdir()
        self.comes()

    def comes(self) -> None:
        if self._behind is not None:
            self._mounts.bind(str(self._behind), str(self.place))
        else:
            self._mounts.mount("ext4", str(self.place))

    def goes(self) -> None:
        self._mounts.detach(str(self.place))

    def is_bare(self) -> bool:
        """Whether nothing was written to the mount point while nothing is mounted there."""
        return not os.path.ismount(self.place) and not any(self.place.iterdir())


@pytest.fixture
def away(tmp_path: Path, mounts: Mounts, program: Callable[[str], str]) -> Away:
    for name in programs("ext4"):
        program(name)
    return Away(mounts, tmp_path / "disk", None)


@pytest.fixture
def bound(tmp_path: Path, mounts: Mounts) -> Away:
    return Away(mounts, tmp_path / "disk", tmp_path / "behind")


def said(trial: Trial, text: str) -> Callable[[], bool]:
    return lambda: text in trial.log.read_text()


def archives(folder: Path) -> set[str]:
    """What has an archive's name."""
    return {path.name for path in folder.iterdir() if path.name.startswith("app.log-")}


def end(trial: Trial, process: subprocess.Popen[bytes]) -> None:
    """End a life in good order."""
    trial.stop_file.touch()
    assert process.wait(20) == 0, trial.output()
    trial.stop_file.unlink()


def caught(trial: Trial, folder: Path) -> subprocess.Popen[bytes]:
    """A life that stands still in the middle of an archive."""
    process = trial.start()
    while not (folder.is_dir() and any(path.name.endswith(".archive") for path in folder.iterdir())):
        assert process.poll() is None, trial.output()
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: stopped(process.pid), "it stands still")
    assert archives(folder) == set(), "in the middle"
    return process


_WAYS = [("exchange", False), ("punch", True), ("copy", False), ("exchange", True), ("copytruncate", False)]
_ARCHIVES = [(*way, deadly) for deadly in (False, True) for way in _WAYS]


@pytest.mark.parametrize(("method", "short", "deadly"), _ARCHIVES if SOAK else [_ARCHIVES[1], _ARCHIVES[5]])
def test_the_archives_filesystem_goes_away_in_the_middle(
    method: str, short: bool, deadly: bool, tmp_path: Path, away: Away
) -> None:
    """Of whoever packs there, and goes on in what is away, or is killed and begins without it."""
    trial = Trial(tmp_path / "trial", tmp_path / "root", options(method), short=short)
    trial.root.mkdir()
    old = away.place / "old"
    trial.options |= {"compress": {"codec": "xz"}, "into": {"dir": str(old)}}
    trial.fill(20000)
    process = caught(trial, old)
    away.goes()
    if deadly:
        process.kill()
        process.wait()
        process = trial.start()
    else:
        process.send_signal(signal.SIGCONT)
    wait_until(said(trial, f"nothing is mounted at {away.place}"), "it says where", 20)
    assert away.is_bare()
    trial.fill(1000)
    away.comes()
    wait_until(lambda: archives(old) != set(), "it is archived", 20)
    if method == "exchange":
        wait_until(said(trial, "cleared archive:"), "nobody is told of it any more", 20)
    end(trial, process)
    assert trial.finish() == 21000
    away.goes()
    assert away.is_bare(), "nothing is hidden beneath it"


_MOMENTS = ["in an archive", "between two", "dead in an archive"]
_LOGS = [(method, moment) for method in ("exchange", "punch", "collapse", "copy") for moment in _MOMENTS]


@pytest.mark.parametrize(
    ("method", "moment"), _LOGS if SOAK else [("exchange", "between two"), ("punch", "dead in an archive")]
)
def test_the_logs_filesystem_goes_away(method: str, moment: str, tmp_path: Path, away: Away) -> None:
    """The writer that has the log open goes on; its lines are there when the filesystem is back."""
    trial = Trial(tmp_path / "trial", away.place, options(method))
    trial.options["compress"] = {"codec": "xz"}
    if method == "exchange":
        trial.options["reopen"] = {"signal": 1, "pidfile": trial.pidfile("append")}
    trial.fill(20000)
    trial.write("append")
    if moment == "between two":
        process = trial.start()
        wait_until(lambda: archives(trial.root) != set(), "it is archived", 20)
        away.goes()
    else:
        process = caught(trial, trial.root)
        away.goes()
        process.send_signal(signal.SIGCONT if moment == "in an archive" else signal.SIGKILL)
        if moment != "in an archive":
            process.wait()
            process = trial.start()
    wait_until(said(trial, f"nothing is mounted at {away.place}"), "it says where", 20)
    assert away.is_bare()
    away.comes()
    before = archives(trial.root)
    wait_until(lambda: archives(trial.root) > before, "there are more", 20)
    end(trial, process)
    assert trial.finish() > 20000
    away.goes()
    assert away.is_bare(), "nothing is hidden beneath it"


def test_a_bind_mount_with_the_log_goes_away(tmp_path: Path, bound: Away) -> None:
    test_the_logs_filesystem_goes_away("exchange", "dead in an archive", tmp_path, bound)


@pytest.mark.skipif(not SOAK, reason="a longer variant of the one above")
def test_a_bind_mount_with_the_archives_goes_away(tmp_path: Path, bound: Away) -> None:
    test_the_archives_filesystem_goes_away_in_the_middle("exchange", False, True, tmp_path, bound)


_DEATHS = [
    ("exchange", "SWAP", "before"), ("copytruncate", "TRUNCATE", "before"), ("exchange", "FREE", "before"),
    ("exchange", "BEGIN", "after"), ("exchange", "CLOSE", "before"), ("exchange", "NAME", "before"),
    ("copytruncate", "COPY", "after"), ("copytruncate", "FREE", "before"), ("punch", "FREE", "before"),
    ("punch", "NAME", "before"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "step", "when"), _DEATHS if SOAK else _DEATHS[:2])
def test_a_life_without_the_logs_filesystem_undoes_nothing(
    method: str, step: str, when: str, tmp_path: Path, away: Away
) -> None:
    """What was cut off can't be seen, and that isn't to say that it hadn't happened."""
    trial = Trial(tmp_path / "trial", away.place, options(method))
    trial.fill(1500)
    trial.die(step, when)
    away.goes()
    process = trial.start()
    wait_until(said(trial, f"nothing is mounted at {away.place}"), "it says where", 20)
    end(trial, process)
    assert away.is_bare()
    away.comes()
    assert trial.finish() == 1500
