"""Processes named by pid files: real processes, and files that lie about them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.errors import ActionError
from filewatchd.work import pids

NOBODY, DAEMON = 65534, 1
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="other users' processes and files need root")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


def written(folder: Path, text: str | int) -> str:
    path = folder / "service.pid"
    path.write_text(f"{text}\n")
    return str(path)


def refused(path: str, program: str | None = None) -> ActionError:
    with pytest.raises(ActionError) as caught, pids.held(path, program):
        pass
    return caught.value


# ---- whom it signals


@pytest.mark.parametrize("program", [None, "sleep"])
def test_the_process_of_the_file_is_signalled(
    folder: Path, sleeper: subprocess.Popen[bytes], program: str | None
) -> None:
    assert pids.signal_pidfile(written(folder, sleeper.pid), signal.SIGTERM, program) == sleeper.pid
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_program_may_be_named_by_its_whole_path(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    path = written(folder, sleeper.pid)
    with pids.held(path, os.path.realpath("/bin/sleep")):
        pass
    assert "it runs" in str(refused(path, "/usr/sbin/nginx"))


def test_a_script_is_named_by_its_own_name(folder: Path) -> None:
    script = folder / "a-server-with-a-long-name"
    script.write_text(f"#!{sys.executable} -S\nimport time\nprint(flush=True)\ntime.sleep(60)\n")
    script.chmod(0o755)
    with subprocess.Popen([script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pids.held(written(folder, process.pid), script.name) as found:
            assert found.pid == process.pid
        process.kill()


def test_only_the_first_line_counts(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    with pids.held(written(folder, f"{sleeper.pid}\n/var/lib/postgresql\n1750000000\n5432")) as found:
        assert found.pid == sleeper.pid


# ---- whom it doesn't


def test_another_program_is_not_signalled(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    error = refused(written(folder, sleeper.pid), "nginx")
    assert "it runs" in str(error)
    assert "not nginx" in str(error)
    assert not error.retryable


def test_a_process_younger_than_the_file_has_got_its_number_anew(
    folder: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    path = written(folder, sleeper.pid)
    os.utime(path, (0, time.time() - 60))
    assert "its number has been given anew" in str(refused(path))
    os.utime(path)
    with pids.held(path):
        pass


def test_a_process_that_ends_while_it_is_looked_at_is_not_signalled(
    folder: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    doubt = pids._doubt

    def and_then_it_ends(said: pids.PidFile, path: str, program: str | None) -> str:
        found = doubt(said, path, program)
        sleeper.kill()
        sleeper.wait(5)
        return found

    monkeypatch.setattr(pids, "_doubt", and_then_it_ends)
    assert "has just ended" in str(refused(written(folder, sleeper.pid)))


def test_a_file_that_is_written_anew_meanwhile_is_read_again(
    folder: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(folder, sleeper.pid)
    doubt = pids._doubt
    monkeypatch.setattr(pids, "_doubt", lambda *said: (written(folder, 1), doubt(*said))[1])
    error = refused(path)
    assert "has just ended" in str(error)
    assert error.retryable


def test_a_signal_after_the_end_reaches_nobody(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    with pids.held(written(folder, sleeper.pid)) as found:
        sleeper.kill()
        sleeper.wait(5)
        with pytest.raises(ActionError, match="has just ended"):
            found.send(signal.SIGHUP)


def test_a_process_that_is_gone(folder: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    error = refused(written(folder, process.pid))
    assert "there is no process" in str(error)
    assert error.retryable


def test_our_own_process_is_not_signalled(folder: Path) -> None:
    assert "this very process" in str(refused(written(folder, os.getpid())))


def test_the_kernels_own_are_not_signalled(folder: Path) -> None:
    own = [stat for stat in Path("/proc").glob("[0-9]*/stat") if b"(kthreadd)" in stat.read_bytes()[:32]]
    for stat in own:  # in a process namespace there is none
        assert "the kernel's own" in str(refused(written(folder, stat.parent.name)))
    assert own or os.readlink("/proc/1/ns/pid")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("0", "no number of a process"),
        ("-1", "no number of a process"),
        ("12x", "no number of a process"),
        ("9" * 5000, "no number of a process"),
        ("٣", "no number of a process"),
    ],
)
def test_what_is_no_number_is_refused(folder: Path, text: str, why: str) -> None:
    assert why in str(refused(written(folder, text)))


def test_links_pipes_and_nothing_are_refused(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    link, pipe = folder / "link.pid", folder / "pipe.pid"
    link.symlink_to(written(folder, sleeper.pid))
    os.mkfifo(pipe)
    assert "it is a symlink" in str(refused(str(link)))
    assert "not a regular file" in str(refused(str(pipe)))
    assert "there is no" in str(refused(str(folder / "nothing.pid")))


# ---- on whose word


def test_a_file_that_anybody_may_write_is_not_believed(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    path = written(folder, sleeper.pid)
    os.chmod(path, 0o666)
    assert "isn't believed: everybody may write" in str(refused(path))


@as_root
def test_a_users_file_may_name_only_that_users_processes(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    path = written(folder, sleeper.pid)
    os.chown(folder, NOBODY, 0)
    assert f"can be written by uid {NOBODY}, and the process belongs to uid 0" in str(refused(path))
    with subprocess.Popen(["sleep", "60"], user=NOBODY, group=NOBODY, extra_groups=[]) as theirs:
        with pids.held(written(folder, theirs.pid)) as found:
            assert found.pid == theirs.pid
        theirs.kill()
    with subprocess.Popen(["sleep", "60"], user=DAEMON, group=DAEMON, extra_groups=[]) as others:
        assert f"belongs to uid {DAEMON}" in str(refused(written(folder, others.pid)))
        others.kill()


@as_root
def test_without_the_right_to_signal_it_says_what_is_missing(folder: Path, sleeper: subprocess.Popen[bytes]) -> None:
    program = (
        "import os, sys\nfrom filewatchd.work import pids\nfrom filewatchd.errors import ActionError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\npid = int(sys.argv[1])\n"
        "try:\n    pids.Held(pid, os.pidfd_open(pid)).send(15)\nexcept ActionError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(sleeper.pid)], capture_output=True, text=True, check=True)
    assert "may not be signalled by us: run as root with CAP_KILL" in done.stdout
    assert sleeper.poll() is None
