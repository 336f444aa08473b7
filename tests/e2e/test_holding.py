"""Rules that are held: mass changes (limit), and rules that trigger themselves."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import Writer, ask, configure, rule, rule_state, second_recorder, shell, tell, told, until

LIMIT = {"paths": 10, "per": "1h"}


def make(root: Path, count: int) -> list[tuple[str, str]]:
    """So many new files; returns what they will be told as."""
    for number in range(count):
        (root / str(number)).write_text("x")
    return [("created", str(number)) for number in range(count)]


def stopped(daemon: Daemon, count: int) -> list[tuple[str, str]]:
    """So many new files that the daemon finds all at once."""
    daemon.signal(signal.SIGSTOP)
    expected = make(daemon.root, count)
    daemon.signal(signal.SIGCONT)
    return expected


def test_limit_holds_a_rule_and_no_other_and_a_change_of_the_rule_resumes_it(daemon: Daemon) -> None:
    other = second_recorder(daemon)
    configure(daemon, daemon.rule(limit=LIMIT, batch="rule"), rule("other", other.action(), roots=[str(daemon.root)]))
    daemon.start()
    expected = stopped(daemon, 30)
    tell(daemon, *expected, recorder=other)
    daemon.says("rule recorded is held: more than 10 paths changed")
    state = until(daemon, dirty=30, running=0)
    assert "more than 10 paths" in state["paused"]
    assert not daemon.recorder.changes()
    assert rule_state(daemon, "other")["paused"] is None
    configure(daemon, daemon.rule(limit={"paths": 100, "per": "1h"}, batch="rule"))
    daemon.signal(signal.SIGHUP)
    tell(daemon, *expected)


def test_a_held_rule_waits_for_resume_over_reloads_and_restarts(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(limit=LIMIT, batch="rule"))
    daemon.start()
    expected = stopped(daemon, 30)
    daemon.says("rule recorded is held")
    elsewhere = daemon.directory / "elsewhere"
    daemon.configure(daemon.rule(limit=LIMIT, batch="rule"), rule("more", "log: {}", roots=[str(elsewhere)]))
    daemon.signal(signal.SIGHUP)
    daemon.says("generation 2")
    assert "more than 10 paths" in until(daemon, dirty=30, running=0)["paused"]
    daemon.stop()
    (daemon.root / "while down").write_text("x")
    daemon.start()
    daemon.says("rule recorded is still held: more than 10 paths changed")
    assert "more than 10 paths" in until(daemon, dirty=31, running=0)["paused"]
    daemon.kill()
    daemon.start()
    until(daemon, dirty=31, running=0)
    assert not daemon.recorder.changes()
    answer = ask(daemon, "resume", rule="recorded")
    assert answer == {"resumed": ["recorded"], "held": {}, "acknowledged": False}
    tell(daemon, *expected, ("created", "while down"))
    assert ask(daemon, "resume") == {"resumed": [], "held": {}, "acknowledged": False}
    assert re.search(r"\(uid \d+\), pid \d+: resume .*recorded", daemon.log())
    daemon.stop()
    daemon.start()
    assert rule_state(daemon)["paused"] is None


def test_a_rule_that_was_changed_while_the_daemon_was_down_is_not_held(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(limit=LIMIT, batch="rule"))
    daemon.start()
    expected = stopped(daemon, 30)
    daemon.says("rule recorded is held")
    daemon.stop()
    assert not daemon.recorder.changes()
    daemon.configure(daemon.rule(batch="rule"))
    daemon.start()
    tell(daemon, *expected)


def test_a_held_rule_with_very_many_changes_holds_up_no_scan_and_misses_none(daemon: Daemon) -> None:
    """It keeps 20,000 paths in memory; what is beyond them is found again by the comparison when it is resumed."""
    other, elsewhere = second_recorder(daemon), daemon.directory / "elsewhere"
    elsewhere.mkdir()
    count = 24_000
    daemon.configure(
        daemon.rule(limit=LIMIT, settle="0s", actions="exec: {command: [wc, -c], stdin: nul}"),
        rule("other", other.action(), roots=[str(elsewhere)]),
    )
    daemon.start()
    daemon.stop()
    for number in range(count // 1000):
        (daemon.root / f"d{number}").mkdir()
        make(daemon.root / f"d{number}", 1000)
    (elsewhere / "a").write_text("x")
    daemon.start()
    eventually(lambda: other.changes(), "another rule's scan goes on", 30)
    eventually(lambda: rule_state(daemon)["discarded"] > 0, "the rule has no room for more", 20)
    assert rule_state(daemon)["dirty"] < count
    assert ask(daemon, "resume")["resumed"] == ["recorded"]
    assert ask(daemon, "flush")["done"]
    state = until(daemon, dirty=0, running=0, paused=None)
    assert state["counters"]["ok"] == count  # the presets exclude none of 0 to 999


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
