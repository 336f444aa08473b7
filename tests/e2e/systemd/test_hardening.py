"""The sandbox: how much it closes, by systemd's own count, and that what is promised still works in it."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service

_DROP_INS = "/usr/share/filewatchd/hardening"


def harden(service: Service, name: str, place: str = _DROP_INS) -> None:
    """Install a drop-in as its head says."""
    directory = f"/etc/systemd/system/{service.unit}.d"
    service.machine.path(directory).mkdir(parents=True)
    shutil.copy(service.machine.path(f"{place}/{name}.conf"), service.machine.path(directory))
    service.machine.run("systemctl", "daemon-reload")


def exposure(service: Service) -> float:
    """What systemd-analyze counts, 0 to 10."""
    said = service.machine.run("systemd-analyze", "security", "--offline=no", "--no-pager", service.unit).stdout
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    return float(score)


def result(service: Service, command: str) -> str:
    """What a rule's command, of which this is the shell script, prints (``$1``: the file)."""
    service.configure(service.rule(actions=f"exec: {{command: [sh, -c, {json.dumps(command)}, sh, '{{path}}']}}"))
    service.start()
    path = service.touch("file")
    fields = f"FILEWATCHD_PATH={path}", "FILEWATCHD_EVENT=outcome"
    eventually(lambda: service.machine.journal(*fields), "the job is done")
    output = service.machine.journal("FILEWATCHD_EVENT=output")
    return "\n".join(str(entry["MESSAGE"]) for entry in output)


@pytest.mark.parametrize(("drop_in", "most"), [("", 3.5), ("watch-only", 2.5), ("one-user", 3.5)])
def test_systemd_counts_at_most(service: Service, drop_in: str, most: float) -> None:
    if drop_in:
        harden(service, drop_in)
    assert exposure(service) <= most


def test_a_command_may_write_anywhere_and_give_files_their_owners(service: Service) -> None:
    script = """set -e; for place in /srv /home /var/log /etc /root /tmp;
        do echo x >$place/made; chown daemon:adm $place/made; done; chmod 640 /srv/made; echo done"""
    assert "done" in result(service, " ".join(script.split()))
    for place in ("srv", "home", "var/log", "etc", "root", "tmp"):
        status = service.machine.path(f"/{place}/made").stat()
        assert (status.st_uid, status.st_gid) == (1, 4), place


def test_a_command_may_not_touch_the_system_itself(service: Service) -> None:
    script = """for try in 'echo >/usr/made' 'mount -t tmpfs none /mnt' 'echo 1 >/proc/sys/vm/overcommit_memory'
        'unshare --net true' 'mknod /srv/node b 7 0' 'hostname other' 'chmod u+s /srv/main/root/file';
        do sh -c "$try" 2>/dev/null && echo "could $try"; done; echo tried"""
    said = result(service, " ".join(script.split()))
    assert "tried" in said
    assert "could" not in said


def test_a_rules_user_does_its_work(service: Service) -> None:
    service.machine.run("useradd", "--system", "worker")
    service.machine.run("install", "-d", "-o", "worker", service.root)
    service.configure(
        service.rule(user="worker", exclude=["*.copy"], actions="exec: {command: [cp, '{path}', '{path}.copy']}")
    )
    service.start()
    copy = service.machine.path(service.touch("file") + ".copy")
    eventually(copy.exists, "the file is copied")
    assert copy.stat().st_uid == int(service.machine.run("id", "-u", "worker").stdout)


def test_watch_only_sees_everything_and_writes_nothing(service: Service) -> None:
    harden(service, "watch-only")
    machine = service.machine
    machine.run("install", "-d", "-m", "700", "-o", "daemon", f"{service.root}/secret")
    script = """for place in /srv /home /var/log /etc /root; do echo x >$place/made && echo "wrote $place"; done;
        echo x >/var/lib/filewatchd/made && echo kept; cat "$1"; echo; echo tried"""
    said = result(service, " ".join(script.split()))
    assert {"kept", "tried"} <= set(re.findall(r"\w+", said))
    assert "wrote" not in said
    secret = service.touch("secret/file")
    machine.run("chown", "daemon", secret)
    eventually(lambda: machine.journal(f"FILEWATCHD_PATH={secret}", "FILEWATCHD_OUTCOME=ok"), "it saw the secret file")


def test_one_user_works_as_that_user_on_its_files(service: Service) -> None:
    machine = service.machine
    harden(service, "one-user")
    own = Service(machine, home="/srv/filewatchd")
    machine.run("chown", "-R", "filewatchd:", "/srv/filewatchd")
    own.configure(own.rule(changes=["created", "modified", "deleted", "moved"]))
    own.start()
    user = int(machine.run("id", "-u", "filewatchd").stdout)
    assert machine.path(f"/proc/{own.pid}").stat().st_uid == user
    own.saw(own.touch("file"))
    assert machine.path("/srv/filewatchd/recorded").stat().st_uid == user
    assert machine.path(own.state_dir).stat().st_uid == user
    assert own.ask("status")["commands"]["containment"] == "cgroup"
    pid = own.pid
    own.kill()
    missed = own.touch("while-dead")
    own.lives_again(pid)
    own.saw(missed)
    machine.run("systemctl", "reload", own.unit)


@pytest.mark.parametrize("given", [False, True], ids=["packaged", "with collapse.conf"])
def test_rights_to_hold_up_who_opens_a_log_come_by_a_drop_in(service: Service, given: bool) -> None:
    """A container's doubts stay: collapse itself is tried on the host (tests/e2e/test_rotate.py)."""
    if given:
        harden(service, "collapse", "/usr/share/filewatchd/rights")
    log = f"{service.root}/app.log"
    rule = service.rule("logs", include=["*.log"], actions="rotate: {when: {size: 1GiB}}")
    service.configure(rule)
    service.start()
    service.machine.run(
        "systemd-run", "--unit=app", f"--property=StandardOutput=append:{log}", "sh", "-c", "echo 1; sleep 600"
    )
    eventually(lambda: service.machine.path(log).exists(), "it writes")
    plan = service.machine.run("filewatchctl", "rotate", log, "--dry-run").stdout
    assert "outside this pid namespace" in plan
    assert ("hold up new openers" in plan) is not given
