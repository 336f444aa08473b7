"""A daemon that does nothing any more is killed and started anew; one whose filesystem hangs is left alone."""

from __future__ import annotations

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.service import Service

_SHORT = "[Service]\nWatchdogSec=1s\nTimeoutStartSec=2s\nRestartSec=100ms\n"


def test_a_stopped_daemon_is_killed_and_what_changed_meanwhile_is_seen(service: Service) -> None:
    service.machine.drop_in(service.unit, "short", _SHORT)
    service.configure()
    service.start()
    pid = service.pid
    service.kill("STOP")
    missed = service.touch("while-it-was-stopped")
    service.lives_again(pid)
    assert "Watchdog timeout" in service.log()
    assert service["NRestarts"] == "1"
    service.saw(missed)


@pytest.fixture
def hung(boot: Boot) -> Service:
    """A service whose machine has a filesystem, at its root, that doesn't answer; SIGCONT for bindfs lets it."""
    service = Service(boot("bindfs", "procps", options=["--bind=/dev/fuse"]))
    service.machine.put("/srv/main/behind/file", "x")
    service.machine.run("bindfs", "/srv/main/behind", service.root)
    service.machine.run("pkill", "-STOP", "bindfs")
    return service


def test_a_filesystem_that_hangs_lets_neither_the_start_time_out_nor_the_watchdog_bite(hung: Service) -> None:
    hung.machine.drop_in(hung.unit, "short", _SHORT)
    hung.configure(hung.rule(), hung.rule("other", root="/srv/other"))
    hung.machine.path("/srv/other").mkdir()
    hung.start()
    begun, ready = (int(hung[f"{name}TimestampMonotonic"]) for name in ("InactiveExit", "ActiveEnter"))
    assert ready - begun > 2_000_000, "it was ready before the time-out, which so proves nothing"
    assert "1 live, 1 stalled" in hung["StatusText"]
    hung.machine.run("pkill", "-CONT", "bindfs")
    eventually(lambda: "2 live" in hung["StatusText"], "the filesystem answers")
    hung.saw(f"{hung.root}/file")
    assert hung["NRestarts"] == "0"
