"""The units of systemd/: what they promise agrees with the code; the booted systemd shows that they work."""

from __future__ import annotations

import configparser
import re

import pytest

from filewatchd.cli.daemon import parser
from filewatchd.config.schema import Daemon
from tools.units import UNITS, instance_unit

SERVICES = ["filewatchd.service", "filewatchd@.service", "user/filewatchd.service"]


def service(name: str) -> dict[str, list[str]]:
    """A unit's keys of [Service], each with all its values."""
    found: dict[str, list[str]] = {}
    section = (UNITS / name).read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_of_instances_is_up_to_date() -> None:
    assert (UNITS / "filewatchd@.service").read_text() == instance_unit(), "run python -m tools.units"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_runs_is_understood(name: str) -> None:
    keys = service(name)
    (start,), (reload,) = keys["ExecStart"], keys["ExecReload"]
    program, *words = start.split()
    assert program == "/usr/bin/filewatchd"
    assert parser().parse_args(words).command == "run"
    assert reload == "/usr/bin/filewatchctl --socket ${RUNTIME_DIRECTORY}/control.sock config reload"
    assert keys["RestartPreventExitStatus"] == ["64 77 78"]


def test_the_directories_are_those_of_the_configuration() -> None:
    keys, daemon = service("filewatchd.service"), Daemon()
    assert daemon.state_dir == f"/var/lib/{keys['StateDirectory'][0]}"
    assert daemon.runtime_dir == f"/run/{keys['RuntimeDirectory'][0]}"
    sockets = configparser.ConfigParser(delimiters="=", strict=False)
    sockets.read(UNITS / "filewatchd.socket")
    assert sockets["Socket"]["ListenStream"] == f"{daemon.runtime_dir}/control.sock"


@pytest.mark.parametrize("drop_in", sorted(path.name for path in (UNITS / "hardening").glob("*.conf")))
def test_a_drop_in_only_takes_away(drop_in: str) -> None:
    keys, whole = service(f"hardening/{drop_in}"), service("filewatchd.service")
    given = set(" ".join(whole["CapabilityBoundingSet"]).split())
    assert set(" ".join(keys["CapabilityBoundingSet"]).split()) < given
    assert keys["SystemCallFilter"] == ["~@privileged @resources"]


def test_the_comments_name_what_stays_open() -> None:
    """What isn't in the sandbox is explained; what is, isn't called open."""
    text = (UNITS / "filewatchd.service").read_text()
    opened = text.partition("What stays open, and why:\n")[2].partition("\nProtectSystem=")[0]
    explained = set(re.findall(r"\b((?:CAP|AF)_[A-Z_*]+|[A-Z]\w+)=?", opened))
    for capability in " ".join(service("filewatchd.service")["CapabilityBoundingSet"]).split():
        assert capability in explained or (capability.startswith("CAP_DAC_") and "CAP_DAC_*" in explained), capability
