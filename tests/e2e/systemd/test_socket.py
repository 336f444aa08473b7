"""`filewatchd.socket` holds the control socket: asking starts the daemon, and nobody is refused while it restarts."""

from __future__ import annotations

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service


@pytest.fixture
def activated(service: Service) -> Service:
    """Configured, its socket unit started, itself not."""
    service.configure()
    service.machine.run("systemctl", "start", "filewatchd.socket")
    return service


def test_asking_starts_the_daemon_and_is_answered(activated: Service) -> None:
    assert activated["ActiveState"] == "inactive"
    assert activated.ask("status")["pid"] == activated.pid
    eventually(lambda: activated["ActiveState"] == "active", "it is ready, too")
    activated.machine.run("systemctl", "stop", activated.unit)
    assert activated.ask("status")["pid"] == activated.pid, "the socket has outlived the daemon"
    activated.saw(activated.touch("file"))


def test_who_asks_while_it_is_killed_or_restarts_is_answered_by_the_next(activated: Service) -> None:
    activated.ask("status")
    for stroke in (["systemctl", "kill", "--signal=KILL", activated.unit], ["systemctl", "restart", activated.unit]):
        pid = activated.pid
        activated.machine.run(*stroke)
        assert activated.ask("status")["pid"] not in (0, pid)


def test_without_the_unit_the_daemon_makes_the_socket_itself(service: Service) -> None:
    service.configure()
    service.start()
    path = service.machine.path(service.socket)
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o666
    service.machine.run("systemctl", "stop", service.unit)
    assert not path.exists()
