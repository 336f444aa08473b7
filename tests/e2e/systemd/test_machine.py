"""The fixture keeps its word: a machine reboots and crashes with its files, and leaves nothing behind."""

import contextlib
import subprocess
import sys
from pathlib import Path

from filewatchd.work import cgroup
from tests.e2e.running import eventually
from tests.e2e.systemd.cell import CACHE, sweep
from tests.e2e.systemd.layers import Stack
from tests.e2e.systemd.machine import Machine

_LEFT = """
import sys
from pathlib import Path
from tests.e2e.systemd.layers import Stack
from tests.e2e.systemd.machine import Machine
machine = Machine(Stack(tuple(Path(name) for name in sys.argv[1:]), ""))
machine.boot()
print(machine.path("/").parts[2], machine._cell.name, flush=True)
sys.stdin.read()
"""


def test_its_files_outlive_a_reboot_a_crash_and_its_being_off(debian: Stack) -> None:
    with contextlib.closing(Machine(debian)) as machine:
        machine.boot()
        machine.put("/srv/deep/file", "kept")
        machine.reboot()
        assert machine.run("cat", "/srv/deep/file").stdout == "kept"
        machine.crash()
        assert machine.get("/srv/deep/file") == "kept"
        machine.boot()
        machine.poweroff()
        machine.boot()
        assert machine.get("/srv/deep/file") == "kept"
        boots = machine.run("journalctl", "--list-boots", "--quiet").stdout.splitlines()
        assert len(boots) == 4


def test_nothing_is_left_of_a_machine_whose_test_was_killed(debian: Stack) -> None:
    words = [sys.executable, "-c", _LEFT, *map(str, debian.directories)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        pid, name = test.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
        test.kill()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the machine's systemd is gone")
    sweep()
    assert not list((CACHE / "cells").glob(f"{name}*"))
    assert not Path(cgroup.own(), name).exists()
    assert name not in Path("/proc/self/mountinfo").read_text()
