"""The launcher, started as systemd would: three descriptors, and a request down the first."""

from __future__ import annotations

import errno
import marshal
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from filewatchd.work import transient
from filewatchd.work.launcher import BEGUN, request

ENV = {b"PATH": b"/usr/bin:/bin", b"WORD": b"\xff%i $HOME\n"}


def launch(said: bytes) -> tuple[int, bytes, bytes]:
    """Exit status, output and report."""
    words = [sys.executable, "-I", "-S", "-c", transient._PROGRAM, transient._HOME]
    done = subprocess.run(words, input=said, capture_output=True, env={}, check=False)
    return done.returncode, done.stdout, done.stderr


def test_it_becomes_the_command_and_leaves_it_the_rest_of_the_input(tmp_path: Path) -> None:
    script = b'pwd; printf %s "$1"; printf %s "$WORD"; cat; echo oops >&2'
    said = request([b"sh", b"-c", script, b"sh", b"\xfe $$"], ENV, os.fsencode(tmp_path), b"rest\0of it")
    status, output, report = launch(said)
    assert output == os.fsencode(tmp_path) + b"\n\xfe $$" + ENV[b"WORD"] + b"rest\0of itoops\n"
    assert (status, report) == (0, BEGUN)


def test_without_input_it_reads_nothing() -> None:
    assert launch(request([b"readlink", b"/proc/self/fd/0"], ENV, None, None)) == (0, b"/dev/null\n", BEGUN)


@pytest.mark.parametrize(
    ("argv", "cwd", "number", "stage"),
    [
        ([b"no-such-program"], None, errno.ENOENT, "exec"),
        ([b"/dev/null"], None, errno.EACCES, "exec"),
        ([b"true"], b"/no/such/place", errno.ENOENT, "cwd"),
    ],
)
def test_why_it_cant_is_reported(argv: list[bytes], cwd: bytes | None, number: int, stage: str) -> None:
    assert launch(request(argv, ENV, cwd, None)) == (127, b"", BEGUN + marshal.dumps((number, stage)))


def test_it_imports_nothing_but_itself() -> None:
    script = "import sys; known = set(sys.modules)\n" + transient._PROGRAM.removesuffix("\nmain()")
    script += "\nprint(*sorted(set(sys.modules) - known))"
    words = [sys.executable, "-I", "-S", "-c", script, transient._HOME]
    done = subprocess.run(words, capture_output=True, text=True, env={}, check=True)
    ours = ["filewatchd", "filewatchd.work", "filewatchd.work.execute", "filewatchd.work.launcher"]
    assert done.stdout.split() == ours


def test_the_command_ignores_no_signal() -> None:
    status, output, _ = launch(request([b"grep", b"SigIgn", b"/proc/self/status"], ENV, None, None))
    ignored = int(output.split()[1], 16)
    python_ignores = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert (status, ignored & python_ignores) == (0, 0)


@pytest.mark.parametrize("length", [0, 4, 20])
def test_half_a_request_is_none(length: int) -> None:
    assert launch(request([b"echo", b"x"], ENV, None, None)[:length]) == (0, b"", BEGUN)
