"""Fixtures: a Debian root with filewatchd installed, and a machine booted from it for each test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.e2e.systemd import layers, product
from tests.e2e.systemd.cell import sweep
from tests.e2e.systemd.machine import Machine
from tests.e2e.systemd.service import Service

#: What a machine doesn't need for its tests, and what would come between: it has no network, and no disk.
_BARE = """
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all systemd-tmpfiles-clean; do
    systemctl -q mask $timer.timer
done
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\\nStorage=persistent\\nRateLimitIntervalSec=0\\n' >/etc/systemd/journald.conf.d/tests.conf
"""


@pytest.fixture(scope="session")
def debian() -> layers.Stack:
    """Debian with systemd. Root has it in CI; elsewhere the tests may be skipped, and say why."""
    lack = layers.lacking()
    if lack and ("CI" not in os.environ or os.geteuid()):
        pytest.skip(f"no machine can be booted: {lack}")
    assert not lack, f"no machine can be booted: {lack}"
    sweep()
    return layers.add(layers.debian("bookworm"), _BARE)


@pytest.fixture(scope="session")
def installed(debian: layers.Stack) -> layers.Stack:
    """Debian with filewatchd installed, not configured."""
    return product.installed(debian, product.package("bookworm"))


@pytest.fixture
def machine(installed: layers.Stack) -> Iterator[Machine]:
    """A machine of the test's own, booted, with filewatchd installed and not started."""
    with contextlib.closing(Machine(installed)) as machine:
        machine.boot()
        yield machine


@pytest.fixture
def service(machine: Machine) -> Service:
    """The machine's filewatchd.service, not configured."""
    return Service(machine)
