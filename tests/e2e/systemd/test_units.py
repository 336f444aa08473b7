"""Commands outside the sandbox, as units of systemd's (`exec: {unit: true}`)."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd import layers
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.service import Service
from tests.e2e.systemd.test_person import Person

TREE = Path(__file__).parents[3]
_INSIDE = (
    "cd /opt/tree && exec python3 -B -m pytest -q -p no:cacheprovider -p no:xdist tests/e2e/systemd/units_inside.py"
)

#: A command that stays, deaf to its stop signal, with a child that is, too.
_DEAF = "trap '' TERM; (trap '' TERM; sleep 5000) & echo $$ $! >> /srv/main/began; while :; do sleep 5000; done"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Debian 12's Python 3.11 can't use this Python's packages")
def test_commands_in_units_bear_all_malice(boot: Boot, debian: layers.Stack) -> None:
    packages = sysconfig.get_paths()["platlib"]
    machine = boot.on(debian, f"--bind-ro={packages}:/opt/packages", f"--bind-ro={TREE}:/opt/tree")
    machine.run("env", "PYTHONPATH=/opt/tree:/opt/packages", "sh", "-c", _INSIDE, timeout=300)


def command(script: str, unit: str = "true") -> str:
    """An action that runs a script, with the path as its first argument, in a unit."""
    return f'exec: {{command: [sh, -c, "{script}", sh, "{{path}}"], unit: {unit}}}'


def units(service: Service) -> list[str]:
    """The units of commands that systemd has."""
    lines = service.machine.run(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "filewatchd-*-job*"
    ).stdout
    return [line.split()[0] for line in lines.splitlines()]


def test_what_the_sandbox_forbids_is_done_and_what_was_printed_is_told(service: Service) -> None:
    # The journal asks /proc which unit a message came from: its sender lives until that is done.
    says = "import subprocess, syslog; syslog.syslog('said-itself'); subprocess.run(['journalctl', '--sync'])"
    service.machine.put("/srv/main/says.py", says)
    mounts = "mount -t tmpfs tmpfs /mnt && touch /mnt/there && umount /mnt"
    script = f"echo printed $1; python3 /srv/main/says.py; {mounts}"
    service.configure(service.rule("nginx", actions=command(script, "{memory: 64MiB, cpu: 50%, tasks: 20}")))
    service.start()
    path = service.touch("a b %i $HOME.txt")
    eventually(lambda: service.ask("jobs")["jobs"], "a job")
    eventually(lambda: service.ask("jobs")["jobs"][0]["state"] == "ok", "it is done")
    assert f"printed {path}" in service.ask("jobs", "show", "1")["output"]
    messages = [str(entry["MESSAGE"]) for entry in service.machine.journal("FILEWATCHD_RULE=nginx", "FILEWATCHD_JOB=1")]
    assert any(f"printed {path}" in message for message in messages)
    assert "said-itself" in messages


def test_kill_9_of_the_daemon_ends_its_units_before_a_job_is_taken_up_again(service: Service) -> None:
    service.configure(service.rule(actions=command(_DEAF)), settings="daemon: {shutdown_timeout: 1s}\n")
    service.start()
    service.touch("file")
    service.machine.waits_for("/srv/main/began")
    (first,) = eventually(lambda: units(service), "its unit")
    pid = service.pid
    service.kill()
    service.lives_again(pid)
    eventually(lambda: service.machine.get("/srv/main/began").count("\n") == 2, "it runs again")
    earlier = service.machine.get("/srv/main/began").splitlines()[0].split()
    assert [pid for pid in earlier if service.machine.path(f"/proc/{pid}").exists()] == []
    assert f"ending 1 units that were left running: {first}" in service.log()
    assert len(units(service)) == 1
    service.machine.run("systemctl", "stop", service.unit, timeout=120)
    assert units(service) == []
    assert service["Result"] == "success"


def test_a_stop_lets_commands_finish(service: Service) -> None:
    waits = "while ! test -e /srv/main/go; do sleep 0.05; done"
    script = f"echo began > /srv/main/began; {waits}; echo done > /srv/main/done"
    service.configure(service.rule(actions=command(script)))
    service.start()
    service.touch("file")
    service.machine.waits_for("/srv/main/began")
    stopping = service.machine.start("systemctl", "stop", service.unit)
    eventually(lambda: service["ActiveState"] == "deactivating", "it stops")
    service.machine.put("/srv/main/go", "")
    assert stopping.wait(60) == 0
    assert service.machine.get("/srv/main/done") == "done\n"
    assert units(service) == []


def test_a_shutdown_of_the_system_lets_commands_finish(service: Service) -> None:
    script = (
        "echo began > /srv/main/began; while ! systemctl is-system-running | grep -q stopping; do sleep 0.05; done;"
        " sleep 2; echo done > /srv/main/done"
    )
    service.configure(service.rule(actions=command(script)))
    service.start()
    service.touch("file")
    service.machine.waits_for("/srv/main/began")
    service.machine.poweroff()
    assert service.machine.get("/srv/main/done") == "done\n"


def test_where_systemd_cant_be_asked_check_says_so(service: Service) -> None:
    service.configure(service.rule(actions=command("true")))
    masked = ("unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run/systemd && exec filewatchd check")
    said = service.machine.run(*masked, check=False)
    assert said.returncode == os.EX_CONFIG
    assert "systemd doesn't run here" in said.stdout + said.stderr


def test_a_persons_commands_are_units_of_her_own_systemd(boot: Boot) -> None:
    person = Person(boot("libpam-systemd", "dbus-user-session"))
    script = "(id -un; cat /proc/self/cgroup) > /home/maria/work/who"
    person.configure(person.rule(actions=command(script)))
    person.machine.run("chown", "-R", "maria:", "/home/maria")
    person.manage("enable", "--now", person.unit)
    person.touch("file")
    eventually(lambda: person.ask("jobs")["jobs"], "a job")
    eventually(lambda: person.ask("jobs")["jobs"][0]["state"] == "ok", "it is done")
    name, cgroups = person.machine.get("/home/maria/work/who").split("\n", 1)
    assert name == "maria"
    assert f"user@{person.uid}.service/filewatchd.slice/filewatchd-" in cgroups
