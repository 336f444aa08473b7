"""The daemon as a process: what it holds, when it wakes, and how signals and second starts treat it."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.amounts import amount
from tests.e2e.families import family
from tests.e2e.running import Daemon, eventually

# SQLite can't close a descriptor while the process has a lock on its file, since that would end the lock (fcntl(2)).
# It keeps it, and uses it for the next connection (os_unix.c, findReusableFd). So there are as many as connections were
# ever open at once: the loop's, the reader's, a checkpoint's and retention's.
CONNECTIONS = 4


class Held(NamedTuple):
    """What the daemon and its helpers hold, as /proc tells it."""

    descriptors: Counter[str]
    threads: int
    processes: int

    def within(self, other: Held) -> bool:
        """True if nothing is more than in the other. Less may be: idle threads of the pool end."""
        allowed = Counter(other.descriptors)
        for name in allowed:
            if name.endswith("/journal.db"):
                allowed[name] = max(allowed[name], CONNECTIONS)
        return self.descriptors <= allowed and self.threads <= other.threads and self.processes <= other.processes


def held(pid: int) -> Held:
    """Open descriptors by kind, threads and processes of the daemon and its helpers."""
    members = family(pid)
    kinds: Counter[str] = Counter()
    threads = 0
    for one in members:
        with contextlib.suppress(OSError):  # a command that just ended
            with os.scandir(f"/proc/{one}/fd") as entries:
                kinds.update(os.readlink(entry.path).partition(":")[0] for entry in entries)
            threads += len(os.listdir(f"/proc/{one}/task"))
    return Held(kinds, threads, len(members))


def wakeups(pid: int) -> int:
    """How often threads of the daemon and its helpers went off a processor so far: each wake-up ends in that."""
    total = 0
    for one in family(pid):
        for status in Path(f"/proc/{one}/task").glob("*/status"):
            lines = status.read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return total


def test_a_daemon_without_a_rule_is_ready_too(daemon: Daemon) -> None:
    daemon.config.write_text("version: 1\n")
    daemon.start()
    assert "0 rules" in daemon.log()


def test_thousands_of_jobs_leak_nothing(daemon: Daemon) -> None:
    """Ten thousand in `make soak`. A hundred rules on one root make a hundred jobs of each write.

    Every fifth starts a process.
    """
    actions = ("exec: {command: ['true', '{path}']}", "log: {}", "log: {}", "log: {}", "log: {}")
    daemon.configure(*(daemon.rule(f"r{number}", actions=actions[number % 5]) for number in range(100)))
    daemon.start()

    def write_and_wait(rounds: range) -> None:
        for number in rounds:
            (daemon.root / f"{number}").write_text("x")
            wanted = 100 * (number + 1)
            eventually(lambda: daemon.finished() >= wanted, "every rule ran its job")  # noqa: B023 (called at once)

    write_and_wait(range(5))
    before = held(daemon.pid)
    write_and_wait(range(5, amount(30, 100)))
    # An idle thread of the pool ends after 20 s, so one more than before may be there for so long.
    try:
        eventually(lambda: held(daemon.pid).within(before), "no more is held than before")
    except AssertionError:
        pytest.fail(f"there was {before}, there is {held(daemon.pid)}")


@pytest.fixture
def aside() -> Iterator[Daemon]:
    """A daemon below quiet directories: names in those above a root are watched, and in /tmp anybody makes some."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        daemon = Daemon(Path(place))
        try:
            yield daemon
            daemon.stop()
        finally:
            daemon.kill()


def test_idle_means_no_wakeups(aside: Daemon) -> None:
    daemon = aside
    daemon.configure(daemon.rule())
    daemon.start()
    (daemon.root / "one").write_text("x")
    daemon.sees_the_disk()

    def still() -> bool:
        # The wait is the measurement: over this long nothing may wake it.
        before = wakeups(daemon.pid)
        time.sleep(2)
        return wakeups(daemon.pid) == before

    eventually(still, "two seconds without a wake-up", within=30)


def test_a_second_start_names_the_first_and_exits_75(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    offset = len(daemon.log())
    second = daemon.launch()
    assert second.wait(30) == 75
    assert str(daemon.pid) in daemon.log()[offset:]
    assert daemon.running().poll() is None


def test_a_lock_file_left_by_kill_is_no_obstacle(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes="[created, modified, deleted]"))
    daemon.start()
    (daemon.root / "before").write_text("x")
    daemon.sees_the_disk()
    daemon.kill()
    assert (daemon.state_dir / "filewatchd.lock").exists()
    (daemon.root / "while it was dead").write_text("x")
    daemon.start()
    daemon.sees_the_disk()


def test_hup_loads_a_good_file_and_keeps_the_old_one_when_it_is_bad(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(include='["*.old"]'))
    daemon.start()
    daemon.configure(daemon.rule(include='["*.old", "*.new"]'))
    daemon.signal(signal.SIGHUP)
    daemon.says("generation 2")
    (daemon.root / "a.new").write_text("x")
    daemon.sees_the_disk()

    offset = len(daemon.log())
    daemon.config.write_text(daemon.config.read_text().replace("include", "inclde"))
    daemon.signal(signal.SIGHUP)
    daemon.says(f"{daemon.config}:", after=offset)
    assert "inclde" in daemon.log()[offset:]
    (daemon.root / "b.new").write_text("x")
    daemon.sees_the_disk()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_the_running_job(daemon: Daemon, number: signal.Signals) -> None:
    gate = daemon.directory / "gate"
    os.mkfifo(gate)
    script = f"echo started; cat '{gate}'; echo finished > '{daemon.directory}/done'"
    daemon.configure(daemon.rule(actions=f'exec: {{command: [sh, -c, "{script}"]}}'))
    daemon.start()
    (daemon.root / "one").write_text("x")
    daemon.says("started")
    daemon.signal(number)
    daemon.says("finishing what runs")
    assert daemon.running().poll() is None
    gate.write_text("go on")
    assert daemon.wait() == 0, daemon.log()
    assert (daemon.directory / "done").exists()


def test_a_second_signal_stops_at_once(daemon: Daemon) -> None:
    gate = daemon.directory / "gate"
    os.mkfifo(gate)
    daemon.configure(daemon.rule(actions=f"exec: {{command: [sh, -c, \"echo started; cat '{gate}'\"]}}"))
    daemon.start()
    (daemon.root / "one").write_text("x")
    daemon.says("started")
    daemon.signal(signal.SIGTERM)
    daemon.says("finishing what runs")
    daemon.signal(signal.SIGTERM)
    daemon.wait(within=10)
    left = f"cat '{gate}'"
    eventually(lambda: not any(left in command_line(pid) for pid in processes()), "its command ended", 10)


def processes() -> list[int]:
    """Every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid: int) -> str:
    """The words of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_usr1_logs_the_statistics(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    daemon.signal(signal.SIGUSR1)
    daemon.says("statistics")


def test_the_daemon_never_loads_a_terminal_toolkit(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    daemon.configure(daemon.rule())
    daemon.start()
    (daemon.root / "one").write_text("x")
    daemon.sees_the_disk()
    daemon.stop()
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in daemon.log().splitlines() if "|" in line}
    assert "asyncio" in modules
    assert not modules & {"click", "rich", "textual"}
