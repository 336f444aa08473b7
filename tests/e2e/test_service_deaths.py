"""kill -9 at every step of a reload, with nginx: afterwards it runs a set that passed, and disk and service agree.

The second set passes its check and makes nginx ill, so a reload of it takes every step: it is checked, applied, its
health is watched, the first set is put back and applied. The daemon dies right before or after a step is journaled, or
with some of the names put back. Whatever it left, the next life ends with the first set on the disk and in the service,
and the second can be read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.actions.reload.offline import Reader
from filewatchd.actions.reload.states import Step
from tests.amounts import SOAK
from tests.e2e.running import RUN, Daemon, eventually
from tests.e2e.servicing import Nginx, Record, rule

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="nginx is started by root")

DYING = """
import os, sys
from filewatchd.actions.reload import publishing, putting
from filewatchd.jobs.store import JournaledSteps

step, when, *number = os.environ["DIE_AT"].split(":")
record, restore, names = JournaledSteps.record, putting.restoring.put_back, []

async def dying(self, name, data=None):
    if (name, when) == (step, "before"):
        os.kill(os.getpid(), 9)
    await record(self, name, data)
    if (name, when) == (step, "after"):
        os.kill(os.getpid(), 9)

def put_back(item):
    names.append(item)
    if (step, when) == ("names", str(len(names))):
        os.kill(os.getpid(), 9)
    return restore(item)

JournaledSteps.record = dying
put_back.__module__, put_back.__qualname__ = restore.__module__, restore.__qualname__
putting.restoring.put_back = put_back

def mortal(real, count=[0]):
    def call(*args):
        count[0] += 1
        last = count[0] == int(number[0])
        if last and when == "before":
            os.kill(os.getpid(), 9)
        found = real(*args)
        if last and when == "after":
            os.kill(os.getpid(), 9)
        return found
    return call

if number:
    setattr(publishing, step, mortal(getattr(publishing, step)))
"""

# Right before a step nothing else has happened than right after the one before, but here. All are in
# tests/unit/actions/reload/test_reload.py, too, before and after.
MOMENTS = [f"{step}:after" for step in Step if step is not Step.PUBLISH]
MOMENTS += [f"{Step.HEALTH}:before", f"{Step.REAPPLY}:before"]
NAMES = ["names:3"]  # with two of four put back

# Calls of a publish: the second time it is the last good set that is published again.
CALLS = [
    *(f"{call}:{when}:{number}" for call in ("exchange", "build", "sync_tree") for number in (1, 2)
      for when in ("after", "before")),
    "sync_directory:before:2", "sync_directory:after:3",
]  # fmt: skip


class Mortal(Daemon):
    """A daemon that may be told when to die."""

    def launch(self) -> subprocess.Popen[bytes]:
        """With the tests' own beginning if it shall die."""
        program = (DYING if "DIE_AT" in os.environ else "") + RUN
        command = [sys.executable, "-c", program, "run", "--config", str(self.config)]
        command += ["--state-dir", str(self.state_dir), "--runtime-dir", str(self.directory / "run")]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Mortal]:
    daemon = Mortal(tmp_path)
    yield daemon
    daemon.kill()


def dies(daemon: Mortal, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it live until it dies there."""
    monkeypatch.setenv("DIE_AT", at)
    daemon.start()
    eventually(lambda: daemon.running().poll() is not None, f"the daemon dies at {at}", 20)
    assert daemon.wait() == -9, daemon.log()
    monkeypatch.delenv("DIE_AT")


def test_disk_and_service_agree_after_every_death(
    daemon: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx, record = Nginx(tmp_path / "nginx"), Record(daemon)
    probe = {"http": f"http://127.0.0.1:{nginx.port}/", "within": "100ms", "stay": "50ms", "interval": "50ms"}
    apply = f"kill -HUP $(cat {nginx.pidfile}); sleep 0.1"  # by a command: by a signal it would have to stay a second
    gone, extra = nginx.etc / "conf.d/gone.conf", nginx.etc / "conf.d/extra.conf"
    gone.write_text("# is removed by the bad set\n")
    with nginx.runs():
        daemon.configure(nginx.rule(on_bad="restore", healthy=probe, apply=["sh", "-c", apply]))
        daemon.start()
        record.becomes("synced", good=1)
        for number, moment in enumerate([*MOMENTS, *NAMES], 2):
            daemon.kill()
            nginx.write(f"ill {number}", status=500)
            (nginx.etc / "nginx.conf").chmod(0o600)
            gone.unlink()
            extra.write_text("# new in the bad set\n")
            bad = nginx.site.read_text()
            dies(daemon, moment, monkeypatch)
            assert nginx.says in ("200 one", f"500 ill {number}"), moment  # both passed their check
            daemon.start()
            record.becomes("synced", sure=True, applied=1, desired=1)
            assert (nginx.says, nginx.site.read_text()) == ("200 one", nginx.text("one")), moment
            there = (nginx.etc / "nginx.conf").stat().st_mode & 0o777, sorted(os.listdir(nginx.etc / "conf.d"))
            assert there == (0o644, ["gone.conf", "site.conf"]), moment
            assert f"+{bad.strip()}" in Reader(str(daemon.state_dir), "service").diff("good", str(number)).lines, moment
        daemon.stop()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_live_directory_is_one_set_or_the_other(
    daemon: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    source, live, record = tmp_path / "source", tmp_path / "live", Record(daemon)
    source.mkdir()
    for name in "abc":
        (source / name).write_text("one\n")
    options = {"mode": "publish", "publish": {"from": str(source), "to": str(live)}, "cooldown": 0,
               "check": ["sh", "-c", f"test $(cat {live}/* | sort -u | wc -l) = 1"]}  # fmt: skip
    daemon.configure(rule(source, options))
    daemon.start()
    record.becomes("synced", live=1)
    daemon.stop()
    for name in "abc":
        (source / name).write_text("two\n")
    dies(daemon, f"{Step.PUBLISH}:{when}", monkeypatch)
    assert len({path.read_text() for path in live.iterdir()}) == 1
    daemon.start()
    record.becomes("synced", live=2)
    assert [path.read_text() for path in sorted(live.iterdir())] == ["two\n"] * 3
    assert list(tmp_path.glob(".live*")) == []
    daemon.stop()


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
def test_service_and_live_directory_agree_after_every_death_of_a_publish(
    daemon: Mortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    nginx, record, source = Nginx(tmp_path / "nginx"), Record(daemon), tmp_path / "source"
    live = nginx.site.parent
    shutil.copytree(live, source)
    if linked:
        live.rename(live.with_name("first"))
        live.symlink_to("first")
    probe = {"http": f"http://127.0.0.1:{nginx.port}/", "within": "100ms", "stay": "50ms", "interval": "50ms"}
    apply = f"kill -HUP $(cat {nginx.pidfile}); sleep 0.1"
    options = {
        "mode": "publish", "publish": {"from": str(source), "to": str(live)}, "on_bad": "restore", "cooldown": 0,
        "check": ["nginx", "-t", "-c", f"{nginx.etc}/nginx.conf"], "apply": ["sh", "-c", apply], "healthy": probe,
    }  # fmt: skip
    with nginx.runs():
        daemon.configure(rule(source, options))
        daemon.start()
        record.becomes("synced", good=1)
        for number, moment in enumerate(CALLS if SOAK else CALLS[:1], 2):
            daemon.kill()
            (source / "site.conf").write_text(nginx.text(f"ill {number}", 500))
            dies(daemon, moment, monkeypatch)
            assert nginx.says in ("200 one", f"500 ill {number}"), moment
            assert live.is_symlink() is linked, moment
            assert [path.name for path in live.iterdir()] == ["site.conf"], moment
            daemon.start()
            record.becomes("held", sure=True, applied=1, live=1, desired=number)
            assert (nginx.says, nginx.site.read_text()) == ("200 one", nginx.text("one")), moment
            assert [path.name for path in nginx.etc.glob(".*-new")] == [], moment
            (source / "site.conf").write_text(nginx.text("one"))
            record.becomes("synced", desired=1)
        daemon.stop()


def test_no_step_is_left_out() -> None:
    assert {moment.partition(":")[0] for moment in MOMENTS} | {Step.PUBLISH} == set(Step)
