"""What a job's command has started ends with the daemon, however that ends."""

from __future__ import annotations

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service

# Forks away as daemons do, with nothing in its environment that would tell where it comes from.
_ESCAPES = """#!/bin/sh
setsid env -i /bin/sh -c 'echo $$ >/srv/main/escaped; exec sleep 1000' &
exec sleep 1000
"""


@pytest.fixture
def escaped(service: Service) -> Service:
    """Started, with a job whose command runs and has a child that escaped from it."""
    service.machine.put("/srv/main/escape", _ESCAPES, 0o755)
    service.configure(service.rule(actions="exec: {command: [/srv/main/escape]}"))
    service.start()
    service.touch("file")
    eventually(lambda: is_alive(service), "the child has escaped")
    return service


def is_alive(service: Service) -> bool:
    """Whether the escaped child lives."""
    path = service.machine.path("/srv/main/escaped")
    pid = path.read_text().strip() if path.exists() else ""
    return bool(pid) and service.machine.path(f"/proc/{pid}").exists()


def test_a_commands_children_are_gone_after_kill_9(escaped: Service) -> None:
    child = int(escaped.machine.get("/srv/main/escaped"))
    escaped.kill()
    eventually(lambda: not escaped.machine.path(f"/proc/{child}").exists(), "the child is gone")


def test_a_commands_children_are_gone_after_a_stop(escaped: Service) -> None:
    escaped.machine.put(escaped.config, escaped.machine.get(escaped.config) + "daemon: {shutdown_timeout: 0s}\n")
    escaped.machine.run("systemctl", "reload", escaped.unit)
    escaped.machine.run("systemctl", "stop", escaped.unit)
    assert not is_alive(escaped)
    assert escaped["Result"] == "success"


def test_a_job_that_was_cut_off_is_run_again(escaped: Service) -> None:
    pid = escaped.pid
    escaped.machine.path("/srv/main/escaped").unlink()
    escaped.kill()
    escaped.lives_again(pid)
    eventually(lambda: is_alive(escaped), "the job runs again")
