"""`filewatchd doctor` as a command, and against what a real daemon does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import registry
from filewatchd.config.load import load
from filewatchd.service.doctor import examine
from tests.e2e.running import RUN, Daemon, eventually
from tests.e2e.steps import ask, configure, rule, shell


def doctor(daemon: Daemon, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would."""
    command = [sys.executable, "-c", RUN, "doctor", "--config", str(daemon.config)]
    command += ["--state-dir", str(daemon.state_dir), "--runtime-dir", str(daemon.directory / "run"), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=daemon.directory, timeout=120)


def document(daemon: Daemon, *flags: str) -> dict[str, Any]:
    return dict(json.loads(doctor(daemon, "--json", *flags).stdout))


def own(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings that concern a rule; those of the machine change with the tests that run beside this one."""
    return [finding for finding in found["findings"] if finding["rule"] is not None]


def watches_of(pid: int) -> int:
    """The watches of a process' inotify instances, proc(5)."""
    count = 0
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just been closed
            count += file.read_text().count("inotify wd:")
    return count


def test_what_is_found_is_printed_and_the_exit_code_says_so(daemon: Daemon) -> None:
    (daemon.root / "a.CSV").touch()
    daemon.configure(daemon.rule(include=["*.csv"]))
    found = doctor(daemon)
    assert found.returncode == 3, found
    assert found.stderr == ""
    assert "  warning: include-idle (rule recorded)\n    what: the include pattern *.csv matches" in found.stdout
    assert re.fullmatch(r"(1 warning|\d+ warnings)(, (1 note|\d+ notes))?", found.stdout.splitlines()[-1])
    assert list(document(daemon)) == ["roots", "limits", "findings"]
    (finding,) = own(document(daemon))
    assert list(finding) == ["severity", "code", "rule", "path", "message", "why", "remedy"]
    assert own(document(daemon, "--quick")) == []
    assert not daemon.state_dir.exists()


def test_usage_and_a_bad_configuration(daemon: Daemon) -> None:
    assert doctor(daemon, "--frobnicate").returncode == 64
    daemon.configure(daemon.rule(settle="5 parsecs"))
    found = doctor(daemon)
    assert (found.returncode, found.stdout) == (78, "")
    assert found.stderr.endswith("configuration refused: 1 mistake\n")
    assert json.loads(doctor(daemon, "--json").stdout)["ok"] is False


def test_the_watches_are_those_that_the_daemon_has(daemon: Daemon) -> None:
    for name in ("a/b", "a/c", ".git/objects/00", "out/deep", "other/x"):
        (daemon.root / name).mkdir(parents=True)
    (daemon.directory / "link").symlink_to(daemon.root / "other")
    (daemon.root / "file").touch()
    daemon.configure(
        daemon.rule(exclude=["out/"], presets=["vcs"]),
        daemon.rule("flat", recursive=False),
        f"  - {{name: others, roots: [{daemon.root}/other, link, {daemon.root}/file, {daemon.root}/nope/x,"
        f' "{daemon.root}/[ab]/b"], actions: [log: {{}}]}}',
    )
    needed = document(daemon)["limits"][0]["needed"]
    daemon.start()
    assert watches_of(daemon.pid) == needed
    assert document(daemon)["limits"][0]["needed"] == needed


def test_a_name_that_isnt_text(daemon: Daemon) -> None:
    os.mkdir(os.fsencode(daemon.root) + b"/caf\xe9\x1b[2J")
    daemon.configure(f"  - {{name: r, roots: ['{daemon.root}/caf*/x', '{daemon.root}/c*'], actions: [log: {{}}]}}")
    assert r"caf\udce9\x1b[2J" in doctor(daemon).stdout
    assert document(daemon)["roots"][0]["path_b64"]


def test_a_filesystem_that_hangs_holds_nothing_up(daemon: Daemon, program: Callable[[str], str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    mount = daemon.directory / "mnt"
    mount.mkdir()
    daemon.configure(daemon.rule(), f"  - {{name: hung, roots: [{mount}/x], user: root, actions: [log: {{}}]}}")
    packages = registry.packages()
    found = load(
        daemon.config, registry=packages, environ=os.environ, flags={"daemon.state_dir": str(daemon.state_dir)}
    )
    process = subprocess.Popen([program("bindfs"), "-f", str(daemon.root), str(mount)])
    try:
        eventually(mount.is_mount, "it is mounted", 20)
        process.send_signal(signal.SIGSTOP)
        report = examine(lambda: found, packages, patience=0.5)
    finally:
        process.send_signal(signal.SIGCONT)
        subprocess.run([program("umount"), "-l", str(mount)], check=True)
        process.wait(20)
    assert [(one.code, one.path) for one in report.findings if one.severity == "error"] == [
        ("root-stalled", f"{mount}/x")
    ]
    assert [root.tree.directories for root in report.roots if root.tree is not None] == [1]


def asked(daemon: Daemon, **arguments: Any) -> dict[str, dict[str, Any]]:
    """What the daemon at work finds, by code."""
    found = ask(daemon, "doctor", **arguments)
    assert list(found) == ["roots", "limits", "findings"]
    order = ["error", "warning", "note"]
    severities = [order.index(each["severity"]) for each in found["findings"]]
    assert severities == sorted(severities)
    return {each["code"]: each for each in found["findings"]}


def test_a_daemon_at_work_adds_what_it_knows(daemon: Daemon) -> None:
    """A root that is watched in part; rules that fail, are held and paused; an open file; a refused reload; debug."""
    deep = daemon.root / "/".join("d" * 450)
    deep.mkdir(parents=True)
    loop, later = shell('date +%N >> "$1"', "{path}"), daemon.directory / "later"
    configure(
        daemon,
        daemon.rule("fails", actions=shell("exit 1"), retry={"attempts": 1}, include=["*.csv"]),
        daemon.rule("loops", actions=loop, include=["*.log"], settle="10ms"),
        rule("waits", "log: {}", roots=[str(later)]),
        daemon.rule("off", enabled=False),
        daemon.rule("open", actions="log: {}", include=["*.part"], ready_timeout="10ms"),
        logging={"level": "debug"},
    )
    daemon.start()
    (daemon.root / "a.csv").write_text("x")
    (daemon.root / "a.log").write_text("x")
    status = eventually(
        lambda: (s := ask(daemon, "status"))["rules"]["fails"]["failed"] == 1 and s["rules"]["loops"]["paused"] and s,
        "one rule has failed, one is held",
        60,
    )
    daemon.config.write_text(daemon.config.read_text() + "nonsense: 1\n")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: ask(daemon, "status")["config_error"], "the reload was refused", 20)
    ask(daemon, "pause", rule="waits", reason="moving house")
    with (daemon.root / "a.part").open("w") as held:
        held.write("x")
        held.flush()
        eventually(lambda: ask(daemon, "status")["rules"]["open"]["held"], "the file is held open", 20)
        found = asked(daemon)
    degraded = found["root-degraded"]
    assert (degraded["severity"], degraded["path"], degraded["rule"]) == (
        "warning",
        str(daemon.root),
        "fails, loops, open",
    )
    assert status["watch"]["roots"][0]["why"] in degraded["message"]
    assert found["paths-failed"]["path"] == str(daemon.root / "a.csv")
    assert "`filewatchctl jobs retry --rule fails`" in found["paths-failed"]["remedy"]
    assert (found["rule-held"]["rule"], found["rule-held"]["remedy"]) == ("loops", "`filewatchctl resume loops`")
    assert "triggers its own rule in a loop" in found["rule-held"]["message"]
    assert "nonsense" in found["config-refused"]["message"]
    assert (found["rule-paused"]["rule"], found["rule-paused"]["severity"]) == ("waits", "note")
    assert "moving house" in found["rule-paused"]["message"]
    assert found["files-held"]["path"] == str(daemon.root / "a.part")
    assert found["root-missing"]["path"] == str(later)
    assert "root-waiting" not in found, "the examination has said so"
    assert found["rule-disabled"]["rule"] == "off"
    assert found["log-debug"]["severity"] == "note"


def test_a_quick_examination_of_a_daemon_that_is_well(daemon: Daemon) -> None:
    (daemon.root / "d").mkdir()
    daemon.configure(daemon.rule())
    daemon.start()
    found = ask(daemon, "doctor", quick=True)
    (root,) = found["roots"]
    assert (root["path"], root["rules"], root["directories"]) == (str(daemon.root), ["recorded"], None)
    needed = {each["name"].rpartition(".")[2]: each["needed"] for each in found["limits"]}
    assert needed["max_user_watches"] == watches_of(daemon.pid), "what it holds, since no tree was walked"
    assert [each for each in own(found) if each["severity"] != "note"] == []
    assert ask(daemon, "doctor")["roots"][0]["directories"] == 2
