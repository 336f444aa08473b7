"""Rules that are held: mass changes (limit), and rules that trigger themselves."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import Writer, configure, rule, rule_state, second_recorder, shell, tell, told, until

LIMIT = {"paths": 10, "per": "1h"}


def make(root: Path, count: int) -> list[tuple[str, str]]:
    """So many new files; returns what they will be told as."""
    for number in range(count):
        (root / str(number)).write_text("x")
    return [("created", str(number)) for number in range(count)]


def test_limit_holds_a_rule_and_a_reload_resumes_it(daemon: Daemon) -> None:
    other = second_recorder(daemon)
    configure(daemon, daemon.rule(limit=LIMIT, batch="rule"), rule("other", other.action(), roots=[str(daemon.root)]))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    expected = make(daemon.root, 30)
    daemon.signal(signal.SIGCONT)
    tell(daemon, *expected, recorder=other)
    daemon.says("rule recorded is held: more than 10 paths changed")
    state = until(daemon, dirty=30, running=0)
    assert "more than 10 paths" in state["paused"]
    assert not daemon.recorder.changes()
    assert rule_state(daemon, "other")["paused"] is None
    configure(daemon, daemon.rule(limit={"paths": 100, "per": "1h"}, batch="rule"))
    daemon.signal(signal.SIGHUP)
    tell(daemon, *expected)


def test_a_reload_without_changes_resumes_a_held_rule(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(limit=LIMIT, batch="path", settle="0s"))
    daemon.start()
    expected = make(daemon.root, 15)
    daemon.says("rule recorded is held")
    until(daemon, running=0)
    assert len(daemon.recorder.changes()) <= 10
    for resumed in range(2, 5):  # it may be held again: more than the limit was left
        daemon.signal(signal.SIGHUP)
        daemon.says(f"generation {resumed}")
        state = until(daemon, running=0)
        if not state["dirty"]:
            break
    tell(daemon, *expected)


def test_a_held_rule_goes_on_after_a_restart(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(limit=LIMIT, batch="rule"))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    expected = make(daemon.root, 30)
    daemon.signal(signal.SIGCONT)
    daemon.says("rule recorded is held")
    daemon.stop()
    assert not daemon.recorder.changes()
    daemon.configure(daemon.rule(batch="rule"))
    daemon.start()
    tell(daemon, *expected)


LOOPS = {
    "appends": 'echo x >> "$1"',
    "rewrites": 'echo x > "$1"',
    "replaces": 'echo x > "$1.new" && mv "$1.new" "$1"',
    "flips": 'if test -s "$1"; then : > "$1"; else echo x > "$1"; fi',
}


@pytest.mark.parametrize("how", LOOPS)
def test_a_rule_that_triggers_itself_is_held(daemon: Daemon, how: str) -> None:
    daemon.configure(daemon.rule(settle="10ms", exclude=["*.new"], actions=shell(LOOPS[how], "{path}")))
    daemon.start()
    (daemon.root / "a").write_text("x")
    daemon.says("rule recorded is held")
    line = next(line for line in daemon.log().splitlines() if "is held" in line)
    assert f"{daemon.root}/a triggers its own rule in a loop" in line
    until(daemon, running=0)
    assert daemon.finished() < 100
    daemon.configure(daemon.rule())
    daemon.signal(signal.SIGHUP)
    daemon.says("generation 2")
    (daemon.root / "b").write_text("x")
    eventually(lambda: ("created", "b") in told(daemon.recorder, daemon.root), "the mended rule works", 20)


def test_a_busy_writer_is_no_loop(daemon: Daemon) -> None:
    """It writes while the jobs run and between them, and never stops for longer than a job takes."""
    daemon.configure(
        daemon.rule(settle="10ms", max_wait="10ms", ready="immediate", actions="exec: {command: ['true']}")
    )
    daemon.start()
    with Writer(daemon.root / "log", hold=True):
        eventually(lambda: daemon.finished() >= 60 or "is held" in daemon.log(), "60 jobs", 30)
    assert "is held" not in daemon.log()
