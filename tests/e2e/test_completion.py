"""Completion in real shells: words, options, and the names that a daemon knows."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from filewatchd.control import documents as d
from tests.unit.cli import made
from tests.unit.cli.serving import Served, serving

SCRIPTS = Path(__file__).parents[2] / "packaging/completions"
Shell = Callable[[str], set[str]]

CONTROL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"


def info(name: str) -> d.RuleInfo:
    return d.RuleInfo(
        name=name, description=f"about {name}", enabled=True, state="idle", paused=None, roots=[], include=[],
        exclude=[], presets=[], changes=[], ready="closed", settle=0, max_wait=0, batch="path", on_busy="queue",
        concurrency=1,
        actions=[], user=None, origin=None,
    )  # fmt: skip


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A daemon of two rules and a job, and the command on the PATH."""
    program = tmp_path / "bin/filewatchctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(CONTROL)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with serving(tmp_path) as found:
        found.answer("rules", d.Rules(rules=[info("compress-drop"), info("compile-tree"), info("reports")]))
        found.answer("jobs", d.Jobs(jobs=[made.row(id=17), made.row(id=18), made.row(id=21)], next_before=None))
        monkeypatch.setenv("FILEWATCHCTL_SOCKET", found.socket)
        yield found


WORDS = [
    ("filewatchctl pa", {"pause"}),
    ("filewatchctl jobs re", {"retry"}),
    ("filewatchctl pause comp", {"compress-drop", "compile-tree"}),
    ("filewatchctl flush --rule re", {"reports"}),
    ("filewatchctl jobs show 1", {"17", "18"}),
    ("filewatchctl log-level d", {"debug"}),
]


def bash(line: str) -> set[str]:
    """What bash's completion function offers for a line."""
    words = shlex.split(line)
    said = f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}; _filewatchctl_completion filewatchctl"
    script = f'. {SCRIPTS}/filewatchctl.bash; {said}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return set(found.stdout.split())


def fish(line: str) -> set[str]:
    """What fish offers; it adds descriptions behind a tab."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = f"source {SCRIPTS}/filewatchctl.fish; complete -C {shlex.quote(line)}"
    found = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    return {offer.split("\t")[0] for offer in found.stdout.splitlines()}


@pytest.mark.parametrize("shell", [bash, fish])
@pytest.mark.parametrize(("line", "offered"), WORDS)
def test_what_is_offered(served: Served, shell: Shell, line: str, offered: set[str]) -> None:
    assert shell(line) == offered


def test_no_daemon_offers_nothing_and_says_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEWATCHCTL_SOCKET", f"{served.socket}.none")
    assert bash("filewatchctl pause comp") == set()
    assert bash("filewatchctl pa") == {"pause"}


def test_a_tab_in_bash(served: Served) -> None:
    with pexpect.spawn("bash", ["--norc", "--noprofile", "-i"], encoding="utf-8", timeout=30) as terminal:
        terminal.sendline(f"PS1='> '; . {SCRIPTS}/filewatchctl.bash; echo rea''dy")
        terminal.expect("ready")
        terminal.send("filewatchctl pa\t")
        terminal.expect_exact("filewatchctl pause ")
        terminal.send("rep\t")
        terminal.expect_exact("reports ")


def test_a_tab_in_zsh(served: Served, tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    with pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=30, cwd=str(tmp_path)) as terminal:
        terminal.sendline(f"PS1='> '; fpath=({SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy")
        terminal.expect("ready")
        terminal.send("filewatchctl pa\t")
        terminal.expect("pause")
        terminal.send("rep\t")
        terminal.expect("orts")
