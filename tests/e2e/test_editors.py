"""The editors people use, at a real pseudo-terminal: one edit is one change of one file, whatever they do on the way.

After each edit a sentinel is written. What the editor left dirty became due before it, so once the sentinel's job
ran, nothing more is to come.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import pexpect
import pytest

from tests.e2e.running import Daemon, eventually

VIM_WAYS = {
    "as shipped": "set nocompatible",
    "backup kept": "set backup",
    "backup by rename": "set backup backupcopy=no",
    "backup by copy": "set backup backupcopy=yes",
    "no backup": "set nobackup nowritebackup",
}


@pytest.fixture
def edited(daemon: Daemon) -> Daemon:
    """A daemon over a directory with one text in it."""
    (daemon.root / "notes.txt").write_text("one\ntwo\nthree\n")
    daemon.configure(daemon.rule(changes="[created, modified, moved, deleted]"))
    return daemon.start()


def told(daemon: Daemon) -> list[tuple[str, str]]:
    """The name and kind of every change that jobs were given until now."""
    sentinel = daemon.root / "sentinel"
    sentinel.touch()
    eventually(lambda: str(sentinel) in daemon.recorder.view(), "the sentinel's job")
    return [(change["path"].rpartition("/")[2], change["kind"]) for change in daemon.recorder.changes()]


def type_into(daemon: Daemon, command: Sequence[str], shows: str, *keys: str) -> None:
    """Run an editor at a terminal in the root, type ``keys`` once it shows the text, and wait for its end."""
    terminal = pexpect.spawn(command[0], list(command[1:]), cwd=str(daemon.root), encoding="utf-8", timeout=20)
    with terminal:
        terminal.expect_exact(shows)
        for key in keys:
            terminal.send(key)
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("way", VIM_WAYS)
def test_vim(edited: Daemon, program: Callable[[str], str], way: str) -> None:
    notes = edited.root / "notes.txt"
    type_into(
        edited,
        [program("vim"), "-u", "NONE", "-i", "NONE", "--cmd", VIM_WAYS[way], notes.name],
        "three",
        "ofour\x1b:wq\r",
    )
    assert notes.read_text() == "one\nfour\ntwo\nthree\n"
    assert told(edited) == [("notes.txt", "modified"), ("sentinel", "created")]
    edited.sees_the_disk_of("notes.txt")


@pytest.mark.parametrize("options", [[], ["-B"]], ids=["as shipped", "backup kept"])
def test_nano(edited: Daemon, program: Callable[[str], str], options: list[str]) -> None:
    notes = edited.root / "notes.txt"
    type_into(edited, [program("nano"), "-I", *options, notes.name], "three", "zero ", "\x0f", "\r", "\x18")
    assert notes.read_text() == "zero one\ntwo\nthree\n"
    assert told(edited) == [("notes.txt", "modified"), ("sentinel", "created")]
    edited.sees_the_disk_of("notes.txt")


def test_sed_in_place(edited: Daemon) -> None:
    notes = edited.root / "notes.txt"
    subprocess.run(["sed", "-i", "s/two/2/", str(notes)], check=True)
    assert told(edited) == [("notes.txt", "modified"), ("sentinel", "created")]
    edited.sees_the_disk_of("notes.txt")


def test_sed_in_place_with_a_backup(edited: Daemon) -> None:
    notes = edited.root / "notes.txt"
    subprocess.run(["sed", "-i~", "s/two/2/", str(notes)], check=True)
    assert told(edited) == [("notes.txt", "modified"), ("sentinel", "created")]
    edited.sees_the_disk_of("notes.txt")
