"""A person's own daemon: the user unit, with nothing of root's."""

from __future__ import annotations

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.machine import Machine
from tests.e2e.systemd.service import Service


class Person(Service):
    """maria's daemon, run by her own systemd."""

    def __init__(self, machine: Machine) -> None:
        machine.run("useradd", "--create-home", "maria")
        machine.run("loginctl", "enable-linger", "maria")
        super().__init__(machine, home="/home/maria/work", config="/home/maria/.config/filewatchd/filewatchd.yaml")
        self.uid = int(machine.run("id", "-u", "maria").stdout)
        self.socket = f"/run/user/{self.uid}/filewatchd/control.sock"
        eventually(machine.path(f"/run/user/{self.uid}/systemd/private").is_socket, "her systemd answers")

    def manage(self, *words: str) -> str:
        """Run systemctl --user as she does."""
        runtime = f"XDG_RUNTIME_DIR=/run/user/{self.uid}"
        return self.machine.run("env", runtime, "systemctl", "--user", *words, user="maria").stdout

    def __getitem__(self, name: str) -> str:
        return self.manage("show", f"--property={name}", "--value", self.unit).strip()


@pytest.fixture
def maria(boot: Boot) -> Person:
    machine = boot("libpam-systemd")
    person = Person(machine)
    person.configure()
    machine.run("chown", "-R", "maria:", "/home/maria")
    return person


def test_a_persons_daemon_does_her_work_with_her_rights(maria: Person) -> None:
    maria.manage("enable", "--now", maria.unit)
    assert maria["ActiveState"] == "active"
    maria.saw(maria.touch("file"))
    assert maria.recorder.path.stat().st_uid == maria.uid
    assert maria.machine.path(f"/proc/{maria.pid}").stat().st_uid == maria.uid
    maria.configure(maria.rule(), maria.rule("second"))
    maria.manage("reload", maria.unit)
    assert list(maria.ask("status")["rules"]) == ["recorded", "second"]


def test_it_lives_again_after_kill_9_and_after_a_reboot(maria: Person) -> None:
    maria.manage("enable", "--now", maria.unit)
    pid = maria.pid
    maria.manage("kill", "--kill-who=main", "--signal=KILL", maria.unit)
    missed = maria.touch("while-dead")
    maria.lives_again(pid)
    maria.saw(missed)
    maria.machine.reboot()
    maria.saw(maria.touch("after-the-reboot"))
