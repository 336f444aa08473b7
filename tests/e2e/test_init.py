"""What `filewatchd init` writes does its work in a real daemon."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from filewatchd.cli.daemon import main
from tests.e2e.running import RUN, Daemon, eventually


def test_the_example_for_exec_compresses_what_lands(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(daemon.directory), "--for", "exec", "--json"]) == 0
    steps = [step["command"] for step in json.loads(capsys.readouterr().out)["next"]]
    (trial,) = (step for step in steps if step.startswith("date"))
    (mkdir,) = (step for step in steps if step.startswith("mkdir"))
    daemon.start()
    subprocess.run(mkdir, shell=True, check=True)
    subprocess.run(trial, shell=True, check=True)
    made = daemon.directory / "incoming" / "today.txt.gz"
    eventually(lambda: daemon.finished() and made.exists(), "the file is compressed")
    assert gzip.decompress(made.read_bytes()) == (daemon.directory / "incoming" / "today.txt").read_bytes()
    daemon.stop()
    assert daemon.finished() == 1  # what the command made is no job of its own


@pytest.mark.parametrize(
    ("example", "told"),
    [("exec", "compress-incoming  ok"), ("logs", "app.log-"), ("integrity", "integrity  ")],
)
def test_what_it_says_comes_next_works(
    example: str, told: str, daemon: Daemon, commands: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(daemon.directory), "--for", example, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["warnings"] == []
    export, mkdir, check, run, trial, look, *_ = (step["command"] for step in document["next"])
    assert (check, run) == ("filewatchd check", "filewatchd run")
    daemon.start()

    environ = {**os.environ, "PATH": commands, "FILEWATCHCTL_STATE_DIR": str(daemon.state_dir)}
    environ["FILEWATCHCTL_SOCKET"] = str(daemon.directory / "run" / "control.sock")

    def typed(*lines: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", "\n".join([export, *lines])],
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        return done.stdout

    typed(mkdir, "filewatchctl flush")
    assert told in typed(trial, "filewatchctl flush", look)


@pytest.mark.parametrize("death", ["fsync:when=1", "fsync:when=2", "linkat:when=1", "linkat:when=2", "unlinkat:when=1"])
def test_killed_in_the_middle_no_file_is_cut_short(death: str, tmp_path: Path, program: Callable[[str], str]) -> None:
    """The rule's name comes first, so that the main file, which puts it in force, is never without it."""
    call, when = death.split(":")
    words = [sys.executable, "-c", RUN, "init", str(tmp_path), "--for", "exec"]
    printed = subprocess.run([*words, "--dry-run", "--json"], capture_output=True, check=True).stdout
    texts = {file["path"]: file["text"] for file in json.loads(printed)["files"]}
    inject = ["-qq", "-f", "-o", "/dev/null", f"-etrace={call}", f"-einject={call}:signal=KILL:{when}"]
    assert subprocess.run([program("strace"), *inject, *words], check=False).returncode == -signal.SIGKILL
    made = [path for path in texts if os.path.exists(path)]
    assert [Path(path).read_text() for path in made] == [texts[path] for path in made]
    assert made == list(texts)[: len(made)]
