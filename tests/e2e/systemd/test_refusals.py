"""A start that can't work fails at once, says why, and isn't tried again."""

from __future__ import annotations

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service

_NEWER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
(ours,) = database.execute("PRAGMA user_version").fetchone()
database.execute(f"PRAGMA user_version = {ours + 1}")
print(ours, ours + 1)
"""


def refused(service: Service, status: int) -> str:
    """Start it, which fails for good with this exit status; returns what it logged."""
    done = service.machine.run("systemctl", "start", service.unit, check=False)
    assert done.returncode == 1
    assert (service["ActiveState"], service["Result"], service["NRestarts"]) == ("failed", "exit-code", "0")
    assert service["ExecMainStatus"] == str(status)
    return service.log()


def test_a_newer_state_is_refused_naming_both_versions(service: Service) -> None:
    service.configure()
    service.start()
    service.machine.run("systemctl", "stop", service.unit)
    newer = service.machine.run("python3", "-c", _NEWER, f"{service.state_dir}/journal.db").stdout.split()
    said = refused(service, 78)
    assert all(version in said for version in newer)


@pytest.mark.parametrize("package", ["systemd", "dbus_fast"])
def test_the_missing_extra_is_told_and_not_waited_for(service: Service, package: str) -> None:
    service.configure()
    finds = f"/usr/lib -path '*/{package}/__init__.py' -path '*python*'"
    service.machine.run(
        "sh", "-c", f"dirname $(find {finds} -o -path '*/filewatchd/{package}/__init__.py') | xargs rm -r"
    )
    said = refused(service, 78)
    assert "NOTIFY_SOCKET" in said
    assert "filewatchd[systemd]" in said


def test_a_mistake_in_its_command_line_is_not_tried_again(service: Service) -> None:
    service.configure()
    service.machine.drop_in(
        service.unit, "flag", "[Service]\nExecStart=\nExecStart=/usr/bin/filewatchd run --nonsense\n"
    )
    assert "--nonsense" in refused(service, 64)


def test_a_state_that_it_may_not_open_is_not_tried_again(service: Service) -> None:
    service.configure()
    other = "[Service]\nExecStart=\nExecStart=/usr/bin/filewatchd run --state-dir /root/state\nUser=nobody\n"
    service.machine.drop_in(service.unit, "user", other)
    assert "/root/state" in refused(service, 77)


def test_a_second_daemon_on_the_same_state_is_refused(service: Service) -> None:
    service.configure()
    service.start()
    said = service.machine.run("filewatchd", "run", check=False)
    assert said.returncode == 75
    assert str(service.pid) in said.stderr
    eventually(lambda: service["ActiveState"] == "active", "the first goes on")
