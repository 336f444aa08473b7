"""Several daemons on one host, each with its configuration, state, socket and descriptors."""

from tests.e2e.systemd.machine import Machine
from tests.e2e.systemd.service import Service


def test_two_instances_and_the_main_one_each_do_their_own_work(machine: Machine) -> None:
    services = [Service(machine), Service(machine, "a"), Service(machine, "b")]
    for service in services:
        service.configure(settings=f"daemon: {{instance: {service.home[5:]}}}\n")
        service.start()
    assert [service.ask("status")["instance"] for service in services] == ["main", "a", "b"]
    assert len({service.pid for service in services}) == 3
    for service in services:
        service.saw(service.touch("file"))
        assert service.recorder.view().keys() == service.disk().keys()


def test_one_is_killed_and_the_other_goes_on(machine: Machine) -> None:
    a, b = Service(machine, "a"), Service(machine, "b")
    for service in (a, b):
        service.configure()
        service.start()
    pids = a.pid, b.pid
    a.kill()
    b.saw(b.touch("file"))
    a.lives_again(pids[0])
    a.saw(a.touch("file"))
    assert b.pid == pids[1]
    machine.run("systemctl", "reload", a.unit)
    assert b.ask("status")["generation"] == 1
