"""`systemctl start` returns when every root has been looked at; asking tells how things stand."""

import time

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service


def test_start_returns_when_the_roots_are_live(service: Service) -> None:
    for number in range(2000):
        service.machine.path(f"{service.root}/{number}").mkdir()
    service.configure()
    service.start()
    status = service.ask("status")
    assert [root["state"] for root in status["watch"]["roots"]] == ["live"]
    service.saw(service.touch("1999/file"))


def test_systemctl_status_tells_how_things_stand(service: Service) -> None:
    service.configure(service.rule(), service.rule("absent", root="/srv/not-there"))
    service.start()
    assert service["StatusText"] == "running: 2 rules, roots 1 live, 1 waiting"
    assert service["Type"] == "notify"


def test_filewatchctl_asks_over_the_socket(service: Service) -> None:
    service.configure()
    service.start()
    said = service.machine.run("filewatchctl", "status").stdout
    assert f"pid {service.pid}" in said
    asked_as_nobody = service.machine.run("filewatchctl", "status", user="nobody", check=False)
    assert asked_as_nobody.returncode == 77, asked_as_nobody.stderr


def test_a_stop_lets_running_jobs_end_however_short_its_time_out(service: Service) -> None:
    machine = service.machine
    machine.drop_in(service.unit, "short", "[Service]\nTimeoutStopSec=1s\n")
    slow = 'exec: {command: [sh, -c, "echo begun >/srv/main/begun; read x </srv/main/go; echo done >/srv/main/done"]}'
    machine.run("mkfifo", "/srv/main/go")
    service.configure(service.rule(actions=slow))
    service.start()
    service.touch("file")
    service.machine.waits_for("/srv/main/begun")
    with machine.start("systemctl", "stop", service.unit) as stopping:
        service.says("finishing what runs")
        begun = time.monotonic()
        eventually(lambda: time.monotonic() > begun + 1.5, "systemd would have killed it")
        assert service["SubState"] == "stop-sigterm"
        machine.run("sh", "-c", "echo >/srv/main/go")
        assert stopping.wait(30) == 0
    assert machine.get("/srv/main/done") == "done\n"
    assert service["Result"] == "success"


def test_a_configuration_with_a_mistake_is_told_and_not_tried_again(service: Service) -> None:
    service.machine.put(service.config, "version: 1\nrules:\n  - name: nothing\n    rots: [/srv]\n")
    assert service.machine.run("systemctl", "start", service.unit, check=False).returncode == 1
    assert (service["ActiveState"], service["ExecMainStatus"], service["NRestarts"]) == ("failed", "78", "0")
    assert f"{service.config}:4" in service.log()
    assert "rots" in service.log()
