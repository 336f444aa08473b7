"""What a service manager is told and asked to keep; the booted systemd has the rest (tests/e2e/systemd)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.extras import lacks
from filewatchd.watch.backends.inotify_retained import watches_of
from tests.e2e.managing import Manager
from tests.e2e.running import RUN, Daemon, eventually
from tests.e2e.steps import ALL, ask, quiet

pytestmark = pytest.mark.skipif(lacks("systemd") is not None, reason=f"NOT TESTED: {lacks('systemd')}")


@pytest.fixture
def manager(daemon: Daemon, tmp_path: Path) -> Iterator[Manager]:
    """It starts the test's daemon."""
    made = Manager(tmp_path)
    daemon.launch = made.launcher(daemon)  # type: ignore[method-assign]
    yield made
    made.close()


def test_what_is_told_of_a_life(daemon: Daemon, manager: Manager) -> None:
    daemon.launch = manager.launcher(daemon, WATCHDOG_USEC="300000")  # type: ignore[method-assign]
    daemon.configure(daemon.rule())
    daemon.start()
    manager.waits("READY", "1")
    told = [name for name, _ in manager.told]
    assert told.index("EXTEND_TIMEOUT_USEC") < told.index("READY"), "it may take its time to start"
    assert manager.heard("STATUS", "running: 1 rule, roots 1 live")
    manager.waits("WATCHDOG", "1", times=manager.heard("WATCHDOG") + 3)
    daemon.signal(signal.SIGHUP)
    manager.waits("READY", "1", times=2)
    told = [name for name, _ in manager.told]
    assert told.index("RELOADING") > told.index("READY")
    daemon.configure(daemon.rule(settle="5 parsecs"))
    daemon.signal(signal.SIGHUP)
    manager.waits("READY", "1", times=3)
    assert manager.heard("STATUS", "running: 1 rule, roots 1 live; the configuration on disk is refused")
    assert not manager.heard("STOPPING")
    daemon.stop()
    assert manager.heard("STOPPING", "1") == 1


def test_what_happened_between_two_lives_is_in_the_queue(daemon: Daemon, manager: Manager) -> None:
    for name in ("stays", "goes", "other"):
        (daemon.root / name).mkdir()
    daemon.configure(daemon.rule(changes=ALL, settle="500ms"))  # all is one look, on a busy machine, too
    daemon.start()
    eventually(lambda: manager.heard("FDSTORE") and "inotify" in manager.stored, "the descriptor is kept")
    daemon.kill()
    for number in range(30):
        short = daemon.root / "stays" / f"short{number}"
        short.touch()
        short.unlink()
    (daemon.root / "stays" / "new").write_text("x")
    (daemon.root / "goes" / "file").touch()
    shutil.rmtree(daemon.root / "goes")
    (daemon.root / "fresh").mkdir()
    (daemon.root / "fresh" / "file").touch()
    before = watches_of(manager.stored["inotify"])
    daemon.start()
    daemon.sees_the_disk()
    quiet(daemon)
    assert ask(daemon, "status")["transients"] == 31
    assert f"recorded: came and went while no daemon ran: {daemon.root}/stays/short" in daemon.log()
    assert "... and 10 more that came and went while no daemon ran" in daemon.log()
    assert before < watches_of(manager.stored["inotify"]), "each directory has the watch it had, and a new one its own"
    (daemon.root / "stays" / "later").touch()
    daemon.sees_the_disk()


def test_watches_that_nobody_wants_any_more_are_given_back(daemon: Daemon, manager: Manager) -> None:
    (daemon.root / "deep" / "deeper").mkdir(parents=True)
    daemon.configure(daemon.rule())
    daemon.start()
    eventually(lambda: manager.heard("FDSTORE"), "the descriptor is kept")
    daemon.kill()
    held = watches_of(manager.stored["inotify"])
    daemon.configure(daemon.rule(exclude=["deep/"]))
    daemon.start()
    daemon.says("2 watches of an earlier life are no rule's any more and given back")
    assert len(watches_of(manager.stored["inotify"])) == len(held) - 2
    daemon.kill()
    daemon.configure(daemon.rule(backend="poll"))
    daemon.start()
    daemon.says("no rule asks for inotify any more")
    manager.waits("FDSTOREREMOVE", "1")


def test_a_socket_that_was_handed_over_is_answered_and_stays(daemon: Daemon, manager: Manager) -> None:
    runtime = daemon.directory / "run"
    runtime.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(runtime / "control.sock"))
    listening.listen()
    manager.sockets.append(listening)
    daemon.configure(daemon.rule())
    process = daemon.process = daemon.launch()
    assert ask(daemon, "status")["pid"] == process.pid, "it was asked before anybody answered"
    daemon.stop()
    assert (runtime / "control.sock").is_socket()
    daemon.start()
    assert ask(daemon, "status")["pid"] == daemon.pid


def test_what_is_of_no_use_is_closed(daemon: Daemon, manager: Manager) -> None:
    manager.sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    daemon.configure(daemon.rule())
    daemon.start()
    daemon.says("systemd handed over control, which isn't a socket to listen on or of use otherwise: closed")


def test_systemd_waits_for_news_and_nobody_can_tell_it(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    without = f"from filewatchd import extras; extras.EXTRAS['systemd'] = ('no_such_module',); {RUN}"
    command = [
        sys.executable,
        "-c",
        without,
        "run",
        "--config",
        str(daemon.config),
        "--state-dir",
        str(daemon.state_dir),
    ]
    command += ["--runtime-dir", str(daemon.directory / "run")]
    environ = {**os.environ, "NOTIFY_SOCKET": str(daemon.directory / "nobody")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert ended.returncode == 78
    assert (
        "systemd waits for news of this daemon (NOTIFY_SOCKET), but the extra systemd is not installed" in ended.stderr
    )
    assert "pip install 'filewatchd[systemd]'" in ended.stderr
