"""A newcomer's first commands at a terminal, ended by Ctrl-C: `make run` in a checkout, and `filewatchd try`."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

from filewatchd.cli.daemon import main
from tests.e2e.running import RUN

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENT = Path(sys.prefix)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make run` needs of a checkout, with the environment that is already made."""
    if not (ENVIRONMENT / ".run").exists():
        pytest.skip("these tests run outside the environment that `make test` makes")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(CHECKOUT / name, tmp_path / name)
    for name in ("tools", "config", "requirements"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ENVIRONMENT)
    return tmp_path


def test_make_run_shows_each_step_and_ctrl_c_ends_it_with_0(checkout: Path) -> None:
    # -o: the environment is taken as it is, never reinstalled from the copy.
    with pexpect.spawn(
        "make", ["-o", ".venv/.run", "run"], cwd=str(checkout), encoding="utf-8", timeout=30
    ) as terminal:
        terminal.expect("ready:")
        (checkout / "sandbox" / "hello.txt").write_text("hello")
        terminal.expect("hello.txt")
        terminal.expect(hashlib.sha256(b"hello").hexdigest())
        terminal.expect("1 ok")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, terminal.signalstatus) == (0, None)


def test_try_names_a_directory_that_cant_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["try", str(tmp_path / "file"), "--", "true"]) == 1
    assert capsys.readouterr().err == (
        f"filewatchd: {tmp_path}/file can't be watched: it is no directory; name a directory\n"
    )


def test_try_runs_a_command_without_yaml_and_prints_the_yaml_that_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    words = ["-c", RUN, "try", "./in", "--", "sha256sum", "{path}"]
    with pexpect.spawn(sys.executable, words, cwd=str(tmp_path), encoding="utf-8", timeout=30) as terminal:
        terminal.expect("ready:")
        printed = terminal.before or ""
        (tmp_path / "in" / "hello.txt").write_text("hello")
        terminal.expect(hashlib.sha256(b"hello").hexdigest())
        terminal.expect("1 ok")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, terminal.signalstatus) == (0, None)

    # Only the YAML's lines begin with a letter, a space or a dash; the log's with the time.
    yaml = re.search(r"^version:(?:.*\n)(?:[a-z -].*\n)*", printed.replace("\r", ""), re.MULTILINE)
    assert yaml, printed
    config = tmp_path / "filewatchd.yaml"
    config.write_text(yaml[0])
    assert main(["check", "--config", str(config)]) == 0
