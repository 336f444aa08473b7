"""What is in the Debian packages: the same bytes whenever they are built, and all it needs, for its commands alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.amounts import SOAK
from tests.e2e import checkout
from tests.e2e.systemd import layers, product
from tests.e2e.systemd.machine import Machine
from tests.e2e.systemd.service import Service
from tools.deb import build
from tools.roots import RELEASES

_EXTRAS = (
    "systemd.daemon, systemd.journal, dbus_fast, textual, pyinotify, prometheus_client, isal.igzip,"
    " zstandard, lz4.frame, blake3, cryptography.hazmat.primitives.asymmetric.ed25519"
)


@pytest.fixture(scope="module", params=sorted(RELEASES))
def release(request: pytest.FixtureRequest, debian: layers.Stack) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def machine(release: str) -> Iterator[Machine]:
    """The release, booted, with the package installed as an administrator does: for looking only."""
    with contextlib.closing(Machine(layers.debian(release))) as machine:
        machine.boot()
        shutil.copy(product.package(release), machine.path("/root/filewatchd.deb"))
        machine.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "/root/filewatchd.deb")
        yield machine


@checkout.needed
@pytest.mark.parametrize("release", sorted(RELEASES) if SOAK else sorted(RELEASES)[:1])
def test_two_builds_are_the_same_bytes(release: str, debian: layers.Stack, tmp_path: Path) -> None:
    clone = checkout.clone(tmp_path / "elsewhere" / "deep", 0o077)
    second = build(release, tmp_path, clone)
    first = product.package(release)
    if first.name != second.name:  # it is kept from a commit that differs in other parts
        first = build(release, tmp_path / "here")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_new_it_is_well(machine: Machine) -> None:
    assert machine.run("filewatchctl", "health").returncode == 0
    findings = Service(machine).ask("doctor")["findings"]
    assert [finding for finding in findings if finding["code"] != "queue-short"] == []  # that is the host's
    assert machine.journal("--unit=filewatchd", "--priority=warning") == []
    assert machine.run("dpkg", "--verify", "filewatchd").stdout == ""


def test_it_enables_nothing_that_nobody_asked_for(machine: Machine) -> None:
    for scope, unit in (("--system", "filewatchd.socket"), ("--global", "filewatchd.service")):
        assert machine.run("systemctl", scope, "is-enabled", unit, check=False).stdout == "disabled\n"


def test_the_extras_are_inside(machine: Machine) -> None:
    program = f"import sys; sys.path.insert(0, '/usr/lib/filewatchd'); import {_EXTRAS}"
    machine.run("python3", "-I", "-c", program)
    assert "filewatchd_" in machine.run("filewatchctl", "metrics").stdout


def test_what_is_inside_is_for_its_commands_alone(machine: Machine) -> None:
    assert machine.run("python3", "-c", "import filewatchd", check=False).returncode == 1
    machine.put("/srv/other/click.py", "raise SystemExit('not isolated')\n")
    machine.run("env", "PYTHONPATH=/srv/other", "--chdir=/srv/other", "filewatchctl", "--version")


def test_its_modules_are_compiled(machine: Machine) -> None:
    compiled = machine.run("find", "/usr/lib/filewatchd/filewatchd", "-name", "*.pyc").stdout.splitlines()
    sources = machine.run("find", "/usr/lib/filewatchd/filewatchd", "-name", "*.py").stdout.splitlines()
    assert len(compiled) == len(sources) > 100


def test_purged_it_leaves_no_link_to_a_unit(machine: Machine) -> None:
    machine.put("/etc/filewatchd/two.yaml", "version: 1\n")
    machine.run("systemctl", "enable", "--now", "filewatchd@two")
    assert machine.run("systemctl", "is-active", "filewatchd@two").stdout == "active\n"
    machine.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", "filewatchd")
    assert machine.run("systemctl", "is-active", "filewatchd@two", check=False).stdout == "inactive\n"
    assert machine.run("find", "/etc/systemd", "/usr/lib/filewatchd", "-name", "*filewatchd*", check=False).stdout == ""
    assert [path.name for path in machine.path("/etc/filewatchd").iterdir()] == ["two.yaml"]
