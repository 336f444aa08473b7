"""The tutorial on a machine with the package: a user's part as a user, and the service's by systemd."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.e2e.systemd.machine import Machine
from tests.e2e.transcripts import HOME, Terminal, blocks

PAGE = Path(__file__).parents[3] / "docs/tutorial/getting-started.md"
DONE = {"package", "pip"}  # the machine has it


def test_its_commands_do_what_it_says(machine: Machine) -> None:
    machine.run("useradd", "--create-home", "--home-dir", HOME, "ada")
    doable = [block for block in blocks(PAGE) if not block.marks & DONE]
    with Terminal(HOME, partial(machine.start, user="ada")) as own, Terminal("/root", machine.start) as root:
        for block in doable:
            (root if "systemd" in block.marks else own).type(block)
        assert set(own.ends()) == {0}
    assert machine.path("/srv/incoming/today.txt.gz").exists()
