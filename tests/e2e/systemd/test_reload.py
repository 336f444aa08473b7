"""`systemctl reload` returns when the new configuration is in force, and fails with the reason when it is refused."""

from tests.e2e.systemd.service import Service


def test_a_good_one_is_in_force_when_reload_returns(service: Service) -> None:
    service.configure()
    service.start()
    pid = service.pid
    service.configure(service.rule(), service.rule("second", root="/srv/main/other"))
    service.machine.run("systemctl", "reload", service.unit)
    assert list(service.ask("status")["rules"]) == ["recorded", "second"]
    assert service["StatusText"].startswith("running: 2 rules")
    assert service.pid == pid


def test_a_bad_one_is_refused_with_the_reason_and_the_old_one_goes_on(service: Service) -> None:
    service.configure()
    service.start()
    pid = service.pid
    service.configure(service.rule(settle="soon"))
    done = service.machine.run("systemctl", "reload", service.unit, check=False)
    assert done.returncode == 1
    status = service.machine.run("systemctl", "status", "--full", "--lines=50", service.unit).stdout
    assert f"{service.config}:6:13" in status
    assert "'soon' is not a duration" in status
    assert "the configuration on disk is refused" in service["StatusText"]
    assert (service["ActiveState"], service.pid) == ("active", pid)
    service.saw(service.touch("file"))


def test_systemd_hears_of_a_reload_that_it_did_not_ask_for(service: Service) -> None:
    service.configure()
    service.start()
    changed = int(service["StateChangeTimestampMonotonic"])
    service.machine.run("filewatchctl", "config", "reload")
    assert int(service["StateChangeTimestampMonotonic"]) > changed
    assert (service["ActiveState"], service["SubState"]) == ("active", "running")
