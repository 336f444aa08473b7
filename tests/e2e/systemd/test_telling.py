"""Services are told by a real systemd, and what becomes of a rule is told by filewatchd's own service."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.running import eventually
from tests.e2e.systemd import layers
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.service import Service

TREE = Path(__file__).parents[3]
_INSIDE = (
    "cd /opt/tree && exec python3 -B -m pytest -q -p no:cacheprovider -p no:xdist tests/e2e/systemd/telling_inside.py"
)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Debian 12's Python 3.11 can't use this Python's packages")
def test_units_and_processes_are_told(boot: Boot, debian: layers.Stack) -> None:
    packages = sysconfig.get_paths()["platlib"]
    machine = boot.on(debian, f"--bind-ro={packages}:/opt/packages", f"--bind-ro={TREE}:/opt/tree")
    machine.run("env", "PYTHONPATH=/opt/tree:/opt/packages", "sh", "-c", _INSIDE, timeout=300)


def test_a_failure_is_told_out_of_the_sandbox_and_over_a_kill(service: Service) -> None:
    script = 'echo "$FILEWATCHD_RULE $FILEWATCHD_EVENT $FILEWATCHD_MESSAGE" >>/srv/main/heard; sleep 1'
    heard = {"exec": {"shell": True, "command": [script], "unit": True}}
    fails = "exec: {command: [sh, -c, 'echo too bad; exit 3', sh, \"{path}\"]}"
    service.configure(service.rule("nginx", actions=fails, retry={"attempts": 1}, on_failure=json.dumps([heard])))
    service.start()
    service.touch("a")
    place = service.machine.path("/srv/main/heard")
    eventually(lambda: place.exists() and place.read_text(), "it is told")
    service.kill()  # while the command is still telling
    eventually(lambda: place.read_text().count("\n") == 2, "it is told again")
    (line,) = set(place.read_text().splitlines())
    assert line.startswith("nginx failure ")
    assert line.endswith(f"exit status 3: too bad ({service.root}/a)")
