"""The package's life: installed, upgraded with jobs waiting, downgraded, removed, purged."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd import layers, product
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.machine import Machine
from tests.e2e.systemd.service import Service

#: The first commit that had a package.
OLDER = "2b022d75016fd3808c6a088385960d893acaa160"

_GATE = "exec: {command: [sh, -c, 'until [ -e /srv/main/go ]; do sleep 0.05; done']}"


@pytest.fixture(scope="session")
def older(debian: layers.Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of an earlier commit. CI has the whole history; elsewhere a clone may be shallow."""
    known = subprocess.run(["git", "-C", product.TREE, "cat-file", "-e", OLDER], check=False).returncode == 0
    if not known and "CI" not in os.environ:
        pytest.skip(f"this clone doesn't have the commit {OLDER[:12]} (git fetch --unshallow)")
    assert known, f"this clone doesn't have the commit {OLDER[:12]}: fetch the whole history"
    return product.package_of(OLDER, "bookworm", tmp_path_factory.mktemp("older"))


@pytest.fixture
def upgradable(boot: Boot, debian: layers.Stack, older: Path) -> Service:
    """A machine with the older package."""
    return Service(boot.on(product.installed(debian, older)))


@pytest.fixture
def kept(service: Service) -> Service:
    """Running, enabled, with one file handled; and with what the actions of later versions keep."""
    service.configure()
    service.machine.run("systemctl", "enable", "--now", service.unit)
    service.saw(service.touch("first"))
    for name in ("baselines", "versions"):
        service.machine.put(f"{service.state_dir}/{name}/kept", "precious")
        service.machine.put(f"/var/lib/filewatchd-a/{name}/kept", "precious")
    return service


def dpkg(machine: Machine, *words: str) -> str:
    """Run dpkg as an administrator does who keeps the configuration; returns what it said."""
    asks = ("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confold")
    return machine.run(*asks, *words).stdout


def install(machine: Machine, deb: Path) -> str:
    """Install a package in a running machine."""
    shutil.copy(deb, machine.path("/root/filewatchd.deb"))
    return dpkg(machine, "--install", "/root/filewatchd.deb")


def version(machine: Machine) -> str:
    return machine.run("dpkg-query", "--show", "--showformat=${Version}", "filewatchd").stdout


def failed_units(machine: Machine) -> str:
    return machine.run("systemctl", "--failed", "--plain", "--no-legend").stdout


def everything(machine: Machine, directory: str) -> set[str]:
    """All that is in a directory."""
    host = machine.path(directory)
    return {str(path.relative_to(host)) for path in host.rglob("*")} if host.exists() else set()


def test_a_fresh_install_runs_and_waits_for_rules(boot: Boot, debian: layers.Stack) -> None:
    machine = boot.on(debian)
    install(machine, product.package("bookworm"))
    service = Service(machine)
    assert (service["ActiveState"], service["UnitFileState"]) == ("active", "enabled")
    assert service.ask("status")["rules"] == {}
    socket = machine.unit("filewatchd.socket", "ActiveState", "UnitFileState")
    assert socket == {"ActiveState": "inactive", "UnitFileState": "disabled"}
    machine.put("/etc/filewatchd/rules.d/recorded.yaml", f"rules:\n{service.rule(initial='process')}\n")
    machine.run("systemctl", "reload", service.unit)
    service.saw(service.touch("file"))
    assert not failed_units(machine)


def test_an_upgrade_finishes_the_jobs_that_waited(upgradable: Service) -> None:
    service, machine = upgradable, upgradable.machine
    gated = service.rule(actions=f"{_GATE}\n      - {service.recorder.action()}")
    service.configure(gated, settings="daemon: {shutdown_timeout: 100ms}\n")
    machine.run("systemctl", "enable", "--now", service.unit)
    service.touch("first")
    eventually(lambda: service.ask("status")["rules"]["recorded"]["running"] == 1, "a job runs")
    for number in range(5):
        service.touch(f"waiting-{number}")
    eventually(lambda: service.ask("status")["rules"]["recorded"]["dirty"] == 5, "others wait")
    before = version(machine), service.pid, machine.get(service.config)
    install(machine, product.package("bookworm"))
    assert version(machine) > before[0]
    assert service["ActiveState"] == "active"
    assert service.pid != before[1]
    assert machine.get(service.config) == before[2]
    assert service["NFileDescriptorStore"] == "1"
    assert service.recorder.changes() == []
    machine.put("/srv/main/go", "")
    service.sees_the_disk()


def test_an_upgrade_restarts_what_runs_and_leaves_alone_what_does_not(upgradable: Service) -> None:
    instance = Service(upgradable.machine, "a")
    instance.configure()
    instance.start()
    pid = instance.pid
    install(upgradable.machine, product.package("bookworm"))
    assert instance.pid not in (0, pid)
    instance.saw(instance.touch("file"))
    assert upgradable["ActiveState"] == "inactive"


def test_a_downgrade_below_the_states_version_is_refused_and_not_tried_again(kept: Service, older: Path) -> None:
    machine = kept.machine
    raised = "import sqlite3; sqlite3.connect('/var/lib/filewatchd/journal.db').execute('PRAGMA user_version = 1000')"
    machine.run("systemctl", "stop", kept.unit)
    machine.run("python3", "-c", raised)
    install(machine, older)
    assert (kept["ActiveState"], kept["ExecMainStatus"], kept["NRestarts"]) == ("failed", "78", "0")
    assert "1000" in kept.log()


def test_removed_it_is_gone_but_for_configuration_and_state(kept: Service) -> None:
    machine = kept.machine
    state = everything(machine, kept.state_dir)
    dpkg(machine, "--remove", "filewatchd")
    assert kept["LoadState"] == "not-found"
    assert not machine.path("/usr/bin/filewatchd").exists()
    assert not machine.path("/usr/lib/filewatchd").exists()
    assert everything(machine, kept.state_dir) >= {name for name in state if not name.startswith("journal.db-")}
    assert machine.path(kept.config).exists()
    missed = kept.touch("while-removed")
    install(machine, product.package("bookworm"))
    kept.saw(missed)
    assert len(kept.recorder.changes()) == 2


@pytest.mark.parametrize("everything_goes", [False, True])
def test_purged_only_what_cannot_be_made_again_stays_unless_asked(kept: Service, everything_goes: bool) -> None:
    machine = kept.machine
    answer = f"filewatchd filewatchd/purge-kept boolean {str(everything_goes).lower()}\n"
    machine.run("debconf-set-selections", input=answer)
    dpkg(machine, "--purge", "filewatchd")
    stays = set() if everything_goes else {"baselines", "baselines/kept", "versions", "versions/kept"}
    for directory in (kept.state_dir, "/var/lib/filewatchd-a"):
        assert everything(machine, directory) == stays
    for directory in ("/etc/filewatchd", "/run/filewatchd", "/usr/lib/filewatchd", "/var/log/filewatchd"):
        assert not machine.path(directory).exists()
    assert "filewatchd" not in machine.run("dpkg", "--list").stdout
    assert not failed_units(machine)


def test_debian_13_has_its_own(boot: Boot, debian: layers.Stack) -> None:
    service = Service(boot.on(product.installed(layers.debian("trixie"), product.package("trixie"))))
    service.configure()
    service.start()
    pid = service.pid
    service.saw(service.touch("file"))
    service.machine.run("systemctl", "reload", service.unit)
    service.kill()
    missed = service.touch("while-dead")
    service.lives_again(pid)
    service.saw(missed)
