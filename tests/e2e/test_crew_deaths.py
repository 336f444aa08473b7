"""kill -9 while processes of their own look at files for a build or a full verify.

Of the daemon at every commit of the index, of those processes, and of the one that has started them. The crew works
from the 2,000th file on; here, from the first. Files are large holes with a line at their head: to look at them takes a
while, and no room. Damage is made in the index: the digest of a row is another one, so the file's is.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from filewatchd.control.places import RequestError
from filewatchd.errors import FilewatchdError
from tests.amounts import SOAK, amount
from tests.e2e.families import Process, family, lives, picture
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask
from tests.e2e.test_checksum import Indexed

_FIRST = """
from filewatchd.actions.checksum import listing, walking
walking._MANY, walking._FEW, listing._BATCH = 0, 10, 50
"""

# Dies at the commit of a number: of all of its life, or of those since a run of a kind was asked for.
_DYING = """
import itertools, os, signal
from contextlib import contextmanager
from filewatchd.actions.checksum.keeping import Ledger
from filewatchd.state.index.writing import Index
from filewatchd.work.workers import Workers
from tests.e2e.families import family, picture

since, last = os.environ["DIE_AT"].split(":")
armed = [since == "start"]
count = itertools.count()
edit, begin_run, apart = Index.edit, Ledger.begin_run, Workers.apart
looks = []

@contextmanager
def dying(self, *, durable=False):
    here = armed[0] and next(count) == int(last)
    with edit(self, durable=durable) as opened:
        yield opened
        if here:
            processes = [tuple(process) for process in picture(family(os.getpid()))]
            print(f"dies with {len(looks)} looks under way: {processes}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

def begun(self, kind, *rest):
    armed[0] = armed[0] or kind == since
    return begin_run(self, kind, *rest)

async def counted(self, *rest):
    looks.append(1)
    try:
        return await apart(self, *rest)
    finally:
        looks.pop()

Index.edit, Ledger.begin_run, Workers.apart = dying, begun, counted
"""

_DIRECTORIES, _EACH = 6, 50
_BEFORE = 3  # commits before the first batch's
FILES = _DIRECTORIES * _EACH


class Death(NamedTuple):
    """``looks``: those that were under way; ``processes``: the daemon and all below it."""

    looks: int
    processes: list[Process]


def tree(root: Path, directories: int = _DIRECTORIES, each: int = _EACH, size: int = 250_000) -> None:
    for number in range(directories * each):
        path = root / f"d{number // each}" / f"{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n")
        os.truncate(path, size + number)


class Crewed(Indexed):
    """A daemon whose builds and full verifies are done by processes from the first file on."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon)
        daemon.quickly = True
        daemon.first = _FIRST
        daemon.configure(daemon.rule(actions="checksum: {}"))
        self.digests: dict[str, bytes] = {}

    def digest(self, name: str) -> bytes:
        """Of what is on the disk; nothing changes it."""
        if name not in self.digests:
            self.digests[name] = hashlib.sha256((self.root / name).read_bytes()).digest()
        return self.digests[name]

    def agrees(self, damaged: dict[str, bytes] | None = None) -> None:
        """Each file has its row with its digest, or with what the damage has made of it; there are no others."""
        names = [str(path.relative_to(self.root)) for path in self.root.glob("*/*")]
        expected = {name: self.digest(name) for name in names} | (damaged or {})
        assert {path: row.digest for path, row in self.rows().items()} == expected

    def damage(self, names: list[str]) -> dict[str, bytes]:
        """Rows that say that files were something else, with the same times."""
        with closing(sqlite3.connect(self.daemon.state_dir / "index.db", timeout=20)) as index, index:
            for name in names:
                changed = index.execute(
                    "UPDATE files SET digest = zeroblob(32) WHERE name = ?", (os.fsencode(os.path.basename(name)),)
                )
                assert changed.rowcount == 1
        return dict.fromkeys(names, bytes(32))

    def is_done(self, kind: str, number: int = 1) -> bool:
        """Whether a run of a kind, of this number or later, is done; a daemon that doesn't answer doesn't say so."""
        with suppress(FilewatchdError, RequestError):
            run = self.run(kind)
            return bool(run["state"] == "done" and run["id"] >= number)
        return False

    def is_done_within(self, kind: str, seconds: float) -> bool:
        """The same, with some patience."""
        with suppress(AssertionError):
            eventually(lambda: self.is_done(kind), f"the {kind} is done", seconds)
            return True
        return False

    def built(self, within: float = 30.0) -> None:
        """Wait for a daemon that has built."""
        eventually(lambda: self.is_done("build"), "the index is built", within)

    def dying(self, at: str) -> None:
        """Begin a life that is to die there."""
        self.daemon.first = f"import os; os.environ['DIE_AT'] = {at!r}\n{_FIRST}\n{_DYING}"
        self.daemon.process = self.daemon.launch()
        self.daemon.first = _FIRST

    def death(self, kind: str) -> Death | None:
        """How it died; None if the run of that kind is done before."""
        process = self.daemon.running()

        eventually(lambda: process.poll() is not None or self.is_done(kind), f"it dies, or the {kind} is done", 20)
        if process.poll() is None:
            return None
        assert self.daemon.wait() == -signal.SIGKILL, self.daemon.log()
        (*_, last) = re.finditer(r"dies with (\d+) looks under way: \[(.*)\]\n", self.daemon.log())
        numbers = re.findall(r"\((\d+), (\d+)\)", last[2])
        died = Death(int(last[1]), [Process(int(pid), int(started)) for pid, started in numbers])
        self.nothing_is_left(died.processes)
        return died

    def verify_to_death(self) -> Death | None:
        """Ask for a verify in a life that is to die of it; None if it comes through."""
        with suppress(FilewatchdError, RequestError):
            self.asks("verify", acts=True, mode="full")
        return self.death("verify")

    def verified(self) -> None:
        """Wait for the end of a verify; one that hadn't even begun is asked for."""
        if not self.run("verify")["id"]:
            self.asks("verify", acts=True, mode="full")
        eventually(lambda: self.run("verify")["state"] == "done", "the verify is done", 30)

    def knows_all(self, moment: object) -> None:
        """What is true after a build, whatever it went through."""
        self.agrees()
        assert self.run("build")["files"] == len(self.digests), f"{moment}: none is missed, none counted twice"
        assert self.told() == [], moment
        assert ask(self.daemon, "status")["findings"] == [], moment

    def tells_all(self, damaged: dict[str, bytes], moment: object) -> None:
        """What is true after a verify of damaged files."""
        self.agrees(damaged)
        assert sorted(self.told()) == sorted(("corrupt", name) for name in damaged), f"{moment}: each is told, and once"
        assert self.run("verify")["files"] == len(self.digests), f"{moment}: none is missed, none counted twice"
        assert {run["state"] for run in self.asks("runs")["runs"]} == {"done"}, moment

    def looking(self) -> list[int]:
        """Those of the crew that have a file of the root open."""
        return [pid for pid in family(self.daemon.pid)[1:] if self.has_open(pid)]

    def has_open(self, pid: int) -> bool:
        with suppress(OSError):  # it ends
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):  # closed
                    if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"{self.root}/"):
                        return True
        return False

    def kill_until(self, kind: str, victims: str, number: int = 1) -> list[Process]:
        """Kill processes whenever they look, until a run is done."""
        killed: list[Process] = []
        while not self.is_done(kind, number):
            members = family(self.daemon.pid)[1:]
            for _ in range(100):
                looking = [pid for pid in members if self.has_open(pid)]
                if looking and victims == "spawner":
                    killed += picture(family(self.daemon.pid)[1:])
                    looking = family(self.daemon.pid)[1:2]
                killed += picture(looking)
                for pid in looking:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        return killed

    def nothing_is_left(self, processes: list[Process]) -> None:
        """Every process of a life that was killed is gone, and no lock of theirs is left."""
        eventually(lambda: not any(map(lives, processes)), f"all of {processes} are gone", 20)
        assert self.locks() == []

    def locks(self) -> list[str]:
        """What the kernel lists as locked, or leased, of the state's files and the root's."""
        files = [path.stat() for place in (self.daemon.state_dir, self.root) for path in place.rglob("*")]
        ours = {f"{os.major(one.st_dev):02x}:{os.minor(one.st_dev):02x}:{one.st_ino}" for one in files}
        return [line for line in Path("/proc/locks").read_text().splitlines() if ours & set(line.split())]


@pytest.fixture
def crewed(daemon: Daemon) -> Crewed:
    return Crewed(daemon)


NAMES = [f"d{number // _EACH}/{number}" for number in range(7, FILES, 43)]


def test_builds_and_verifies_go_on_after_every_death(crewed: Crewed) -> None:
    """In CI after two of them while files are looked at, other ones each time; in `make soak` after every one."""
    tree(crewed.root)
    deaths: list[Death] = []
    batches = range(_BEFORE, _BEFORE + _DIRECTORIES)
    for number in range(100) if SOAK else random.sample(batches, 2):
        shutil.rmtree(crewed.daemon.state_dir, ignore_errors=True)
        crewed.dying(f"start:{number}")
        building = crewed.death("build")
        if building is not None:
            crewed.dying(f"verify:{number}")
            crewed.built()
        crewed.knows_all(number)
        damaged = crewed.damage(NAMES)
        verifying = crewed.verify_to_death()
        if verifying is not None:
            crewed.daemon.start()
            crewed.verified()
        crewed.tells_all(damaged, number)
        crewed.daemon.kill()
        if building is None and verifying is None:
            break
        deaths += [death for death in (building, verifying) if death is not None]
    assert len(deaths) > 2 * (_BEFORE + _DIRECTORIES) if SOAK else len(deaths) == 4
    assert any(len(death.processes) > 3 for death in deaths), "there were the spawner, its spare, and a crew"
    assert not SOAK or any(death.looks for death in deaths), "the crew was looking"


@pytest.mark.parametrize(("first", "then"), [("crew", "spawner"), ("spawner", "crew")][: amount(1, 2)])
def test_processes_that_are_killed_while_they_look_cost_no_file(crewed: Crewed, first: str, then: str) -> None:
    """Each one that is seen with a file of the root open, as often as that happens; or the one that starts them."""
    tree(crewed.root)
    daemon = crewed.daemon
    killed: list[Process] = []
    while not killed:  # a build may come through before we see one
        daemon.kill()
        shutil.rmtree(daemon.state_dir, ignore_errors=True)
        daemon.process = daemon.launch()
        killed = crewed.kill_until("build", first)
    crewed.knows_all(first)
    damaged = crewed.damage(NAMES)
    before = len(killed)
    while len(killed) == before:
        (number,) = crewed.asks("verify", acts=True, mode="full")["runs"]
        killed += crewed.kill_until("verify", then, number)
    crewed.tells_all(damaged, then)
    assert "files are looked at in the daemon: " in daemon.log()
    assert "Traceback" not in daemon.log()
    if os.major(daemon.root.stat().st_dev):  # else the kernel lists another number than stat tells
        assert crewed.locks(), "those of the daemon that lives are seen"
    daemon.stop()
    crewed.nothing_is_left(killed)


@pytest.mark.skipif(not SOAK, reason="takes minutes: in `make soak`")
def test_thousands_of_files_and_deaths_at_any_moment(crewed: Crewed) -> None:
    """With the crew as it is: from the 2,000th file on, a thousand at once."""
    names = [f"d{number // 100}/{number}" for number in range(7, 3000, 43)]
    tree(crewed.root, 30, 100, 50_000)
    crewed.daemon.first = ""
    chance, looking = random.Random(), 0
    for trial in range(20):
        shutil.rmtree(crewed.daemon.state_dir, ignore_errors=True)
        damaged: dict[str, bytes] = {}
        for kind in ("build", "verify"):
            done = False
            while not done:
                crewed.daemon.start()
                if kind == "verify" and not crewed.run("verify")["id"]:
                    damaged = crewed.damage(names)
                    crewed.asks("verify", acts=True, mode="full")
                done = crewed.is_done_within(kind, chance.uniform(0, 0.6))
                looking += bool(crewed.looking())
                processes = picture(family(crewed.daemon.pid))
                crewed.daemon.kill()
                crewed.nothing_is_left(processes)
        crewed.daemon.start()
        crewed.tells_all(damaged, trial)
        crewed.daemon.kill()
    assert looking, "the crew was looking"
