"""Fixtures: a Debian root with filewatchd installed, and a machine booted from it for each test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

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


class Boot:
    """Boots machines, and throws them away when the test is over."""

    def __init__(self, debian: layers.Stack, ends: contextlib.ExitStack) -> None:
        self._debian = debian
        self._ends = ends

    def __call__(self, *packages: str, options: Sequence[str] = ()) -> Machine:
        """One with these Debian packages, and this tree's filewatchd: enabled by nobody, and not configured.

        ``options`` are systemd-nspawn's.
        """
        below = layers.packages(self._debian, *packages) if packages else self._debian
        return self.on(product.installed(below, product.package("bookworm")), *options)

    def on(self, stack: layers.Stack, *options: str) -> Machine:
        """One with just these layers."""
        machine = Machine(stack, *options)
        self._ends.callback(machine.close)
        machine.boot()
        return machine


@pytest.fixture
def boot(debian: layers.Stack) -> Iterator[Boot]:
    """Boots machines: `boot("nginx-light")`."""
    with contextlib.ExitStack() as ends:
        yield Boot(debian, ends)


@pytest.fixture
def machine(boot: Boot) -> Machine:
    """A machine of the test's own, booted, with filewatchd installed and not started."""
    return boot()


@pytest.fixture
def service(machine: Machine) -> Service:
    """The machine's filewatchd.service, not configured."""
    return Service(machine)
