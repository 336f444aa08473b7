"""filewatchctl index with a real daemon: approvals, verify, lists of any names, seals."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pexpect

from filewatchd.control.api import socket_in
from filewatchd.state.index.reading import Reader
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import configure, lines, rule

CONTROL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"
NAMES = [b"plain", b"d/b", b"d/e/line\nbreak", b"\xff\\", b"d/cr\r", b"-", b" lead", b"\\n", "é".encode()]


def words(daemon: Daemon, *said: str | bytes | Path) -> list[str | bytes]:
    socket = socket_in(str(daemon.directory / "run"))
    head = ["-c", CONTROL, "--socket", socket, "index", "--state-dir", str(daemon.state_dir)]
    return [*head, *(each if isinstance(each, bytes) else str(each) for each in said)]


def ctl(daemon: Daemon, *said: str | bytes | Path, code: int = 0, **more: Any) -> str:
    """Run a command; its standard output."""
    done = subprocess.run([sys.executable, *words(daemon, *said)], capture_output=True, check=False, **more)
    assert done.returncode == code, done
    return os.fsdecode(done.stdout)


def document(daemon: Daemon, *said: str | bytes | Path, code: int = 0) -> Any:
    return json.loads(ctl(daemon, *said, "--json", code=code))


def written(root: Path, names: Sequence[bytes] = NAMES) -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name)


def started(daemon: Daemon, options: str = "{}") -> None:
    """The daemon runs, and has built the index."""
    configure(daemon, rule("files", f"checksum: {options}", roots=[str(daemon.root)]))
    daemon.start()
    daemon.says("build of")
    eventually(lambda: built(daemon), "the index is built", 20)


def waiting(daemon: Daemon) -> list[str]:
    """What waits, read as the commands do."""
    with Reader(str(daemon.state_dir / "index.db")) as reader:
        return sorted(change.path for change in reader.changes())


def chained(daemon: Daemon) -> int:
    """The newest entry of the chain."""
    with Reader(str(daemon.state_dir / "index.db")) as reader:
        return int(reader.connection.execute("SELECT max(number) FROM chain").fetchone()[0])


def built(daemon: Daemon) -> bool:
    """Whether the rule's root is built."""
    with Reader(str(daemon.state_dir / "index.db")) as reader:
        return any(root.built_ns for root in reader.roots())


def test_changes_wait_until_somebody_approves(daemon: Daemon) -> None:
    written(daemon.root, [b"a", b"b", b"d/c", b"d/e"])
    started(daemon, "{approval: required}")
    if waiting(daemon):
        assert document(daemon, "approve", "--all", "--yes")["changes"] == 4
    (daemon.root / "d/c").write_text("other")
    (daemon.root / "a").write_text("other")
    (daemon.root / "new").write_text("new")
    eventually(lambda: waiting(daemon) == ["a", "d/c", "new"], "they wait", 20)
    shown = ctl(daemon, "approve", "--path", daemon.root / "d", "--dry-run")
    assert "d/c" in shown
    assert "new" not in shown
    told = document(daemon, "approve", "--path", daemon.root / "d", "--comment", "mine")
    assert told["changes"] == 1
    assert told["decided"][0]["waiting"] == 2
    (number,) = [c["id"] for c in document(daemon, "pending", code=3)["changes"] if c["path"].endswith("/new")]
    assert document(daemon, "reject", str(number))["changes"] == 1
    (daemon.root / "a").write_bytes(b"a")
    eventually(lambda: waiting(daemon) == ["new"], "what is as before waits no more", 20)
    (story,) = document(daemon, "show", daemon.root / "d/c")["files"]
    (approved,) = [change for change in story["changes"] if change["comment"] == "mine"]
    assert (approved["state"], approved["uid"]) == ("approved", os.geteuid())
    assert ctl(daemon, "audit")


def test_names_of_any_bytes_go_out_and_in(daemon: Daemon) -> None:
    written(daemon.root)
    started(daemon)
    for flags in ([], ["--relative"], ["--format", "bsd"]):
        listed = ctl(daemon, "export", *flags).encode("utf-8", "surrogateescape")
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet"], cwd=daemon.root, input=listed, check=False
        )
        assert done.returncode == 0, listed
        assert listed.count(b"\n") == len(NAMES)
    sums = daemon.directory / "sums"
    command: list[str | bytes] = ["sha256sum", "--", *(b"./" + name for name in NAMES)]
    sums.write_bytes(subprocess.run(command, cwd=daemon.root, capture_output=True, check=True).stdout)
    checked = document(daemon, "check", sums, "--base", daemon.root)
    assert (checked["ok"], checked["findings"]) == (len(NAMES), [])
    taken = document(daemon, "import", sums, "--base", daemon.root)
    assert (taken["same"], taken["differ"], taken["unknown"]) == (len(NAMES), [], [])
    lines = sums.read_bytes().split(b"\n")
    lines[0] = b"0" * 64 + lines[0][64:]
    sums.write_bytes(b"\n".join(lines))
    assert len(document(daemon, "import", sums, "--base", daemon.root, code=3)["differ"]) == 1
    found = document(daemon, "verify", code=3)
    assert [(f["verdict"], f["path"]) for f in found["findings"]] == [("corrupt", str(daemon.root / "plain"))]
    assert document(daemon, "audit")["faults"] == []


def heed() -> None:
    """Take SIGINT as a terminal's programs do: who starts the tests may ignore it, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_verify_that_is_interrupted_goes_on(daemon: Daemon) -> None:
    written(daemon.root, [b"a", b"d/a", b"d/z"])
    with (daemon.root / "d/big").open("wb") as file:
        file.truncate(2 << 30)
    started(daemon)
    below = daemon.root / "d"
    said = [each if isinstance(each, str) else os.fsdecode(each) for each in words(daemon, "verify", below)]
    first = pexpect.spawn(sys.executable, said, encoding="utf-8", timeout=30, preexec_fn=heed)
    first.expect(r"files  \[[#-]*\]")
    first.sendintr()
    first.expect("stopped; the same command goes on there")
    first.expect(pexpect.EOF)
    first.close()
    assert first.exitstatus == 130
    (stopped,) = [run for run in document(daemon, "status")["runs"] if run["kind"] == "verify"]
    assert stopped["state"] == "stopped"
    (run,) = document(daemon, "verify", below)["runs"]
    assert (run["id"], run["state"], run["files"]) == (stopped["id"], "done", 3)
    (quick,) = document(daemon, "verify", daemon.root / "a", "--quick")["runs"]
    assert (quick["id"] > run["id"], quick["files"]) == (True, 1)


def test_a_seal_and_an_audit_that_finds_what_was_done_behind_it(daemon: Daemon) -> None:
    written(daemon.root, [b"a", b"b"])
    heard = daemon.directory / "heard"
    command = ["sh", "-c", f'echo "$1" >>{heard}', "sh", "{message}"]
    started(daemon, json.dumps({"on_finding": [{"exec": {"command": command}}]}))
    key = daemon.directory / "key"
    ctl(daemon, "seal", "--new-key", key)
    sealed = document(daemon, "seal", "--key", key)
    assert sealed["head"] in daemon.log()  # which journald keeps, and may send elsewhere
    eventually(lambda: lines(heard), "the head is sent elsewhere", 20)  # the shell makes the file before it writes
    assert heard.read_text() == f"the index was sealed: head {sealed['number']}:{sealed['head']}, 2 files\n"
    (daemon.root / "a").write_text("proper")
    eventually(lambda: chained(daemon) > sealed["number"], "the change is chained", 20)
    head = f"{sealed['number']}:{sealed['head']}"
    audited = document(daemon, "audit", "--key", f"{key}.pub", "--head", head)
    assert (audited["faults"], audited["rows"] >= 2) == ([], True)
    daemon.stop()
    with sqlite3.connect(daemon.state_dir / "index.db") as connection:
        connection.execute("UPDATE files SET digest = zeroblob(32) WHERE name = ?", (b"b",))
    connection.close()
    found = document(daemon, "audit", "--key", f"{key}.pub", "--head", head, code=3)
    assert "changed past the chain" in found["faults"][0]["what"]
