"""Reloads: what goes on untouched, what is replaced, what comes and what goes."""

from __future__ import annotations

import signal

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import (
    CONTENT,
    ask,
    configure,
    gate,
    lines,
    quiet,
    rule,
    second_recorder,
    sentinel,
    shell,
    tell,
    until,
)


def reload(daemon: Daemon, generation: int) -> None:
    """HUP, and wait for the new generation."""
    daemon.signal(signal.SIGHUP)
    daemon.says(f"generation {generation}")


def test_an_unchanged_rule_keeps_its_window_and_its_running_job(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo "begin $1" >> "$2"; read line < "$3"; echo "end $1" >> "$2"'
    running = rule(
        "running", shell(script, "{name}", str(out), str(door)), roots=[str(daemon.root)], include=["*.slow"]
    )
    waiting = daemon.rule("waiting", settle="1h", max_wait="1h", exclude=["*.slow"])
    configure(daemon, running, waiting)
    daemon.start()
    (daemon.root / "a.slow").write_text("x")
    (daemon.root / "b").write_text("x")
    eventually(lambda: lines(out) == ["begin a.slow"], "the job began", 20)
    until(daemon, "waiting", dirty=1)
    configure(daemon, running, waiting, rule("more", "log: {}", roots=[str(daemon.root)]))
    reload(daemon, 2)
    assert until(daemon, "waiting", dirty=1)["running"] == 0
    until(daemon, "running", running=1)
    door.write_text("go\n")
    eventually(lambda: lines(out) == ["begin a.slow", "end a.slow"], "the job ended", 20)
    quiet(daemon, "running")
    assert len(lines(out)) == 2


def test_a_changed_rule_lets_its_running_job_end_and_knows_what_it_did(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo "begin $1" >> "$2"; read line < "$3"; echo "end $1" >> "$2"'
    configure(daemon, daemon.rule(actions=shell(script, "{name}", str(out), str(door))))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["begin a"], "the job began", 20)
    configure(daemon, daemon.rule())
    reload(daemon, 2)
    (daemon.root / "b").write_text("x")
    tell(daemon, ("created", "b"))
    door.write_text("go\n")
    eventually(lambda: lines(out) == ["begin a", "end a"], "the old job ended", 20)
    quiet(daemon)
    daemon.stop()
    daemon.start()
    sentinel(daemon)
    tell(daemon, ("created", "b"), ("created", "sentinel"))


def test_a_changed_rule_inherits_what_is_dirty(daemon: Daemon) -> None:
    configure(daemon, daemon.rule(settle="1h", max_wait="1h"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    (daemon.root / "b.out").write_text("x")
    until(daemon, dirty=2)
    configure(daemon, daemon.rule(exclude=["*.out"]))
    reload(daemon, 2)
    sentinel(daemon)
    tell(daemon, ("created", "a"), ("created", "sentinel"))


def test_a_retry_that_waits_is_kept_by_a_reload(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    failing = shell('echo "$1" >> "$2"; exit 1', "{name}", str(out))
    retry = {"attempts": 5, "backoff": "1h", "max_backoff": "1h"}
    configure(daemon, daemon.rule(actions=failing, retry=retry, changes=CONTENT))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["a"], "it was tried", 20)
    until(daemon, retrying=1)
    configure(daemon, daemon.rule(changes=CONTENT))
    reload(daemon, 2)
    tell(daemon, ("created", "a"))
    state = quiet(daemon)
    assert state["open"] == 0


def test_a_removed_rule_comes_back_where_it_was(daemon: Daemon) -> None:
    other = rule("other", second_recorder(daemon).action(), roots=[str(daemon.root)])
    configure(daemon, daemon.rule(changes=CONTENT), other)
    (daemon.root / "gone").write_text("x")
    daemon.start()
    (daemon.root / "a").write_text("x")
    tell(daemon, ("created", "a"))
    quiet(daemon)
    configure(daemon, other)
    reload(daemon, 2)
    (daemon.root / "b").write_text("x")
    (daemon.root / "gone").unlink()
    tell(daemon, ("created", "a"), ("created", "b"), recorder=second_recorder(daemon))
    configure(daemon, daemon.rule(changes=CONTENT), other)
    reload(daemon, 3)
    tell(daemon, ("created", "a"), ("created", "b"), ("deleted", "gone"))


def test_roots_are_added_and_taken_away(daemon: Daemon) -> None:
    for name in ("1", "2"):
        (daemon.root / name).mkdir()
        (daemon.root / name / "old").write_text("x")
    over = [rule("recorded", daemon.recorder.action(), roots=[f"{daemon.root}/{name}"]) for name in ("1", "2")]
    configure(daemon, over[0])
    daemon.start()
    configure(daemon, over[1])
    reload(daemon, 2)
    (daemon.root / "1" / "new").write_text("x")
    (daemon.root / "2" / "new").write_text("x")
    tell(daemon, ("created", "2/new"))
    quiet(daemon)
    assert len(daemon.recorder.changes()) == 1


def test_a_refused_reload_tells_each_mistake_in_a_line_and_the_old_rules_go_on(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    sound = daemon.config.read_text()
    daemon.config.write_text(sound.replace("roots:", "root:").replace("actions:", "action:"))
    daemon.signal(signal.SIGHUP)
    daemon.says("the configuration was not reloaded, generation 1 goes on\n")
    for key in ("root", "action"):
        daemon.says(f"unknown key '{key}'; did you mean '{key}s'?\n")
    (daemon.root / "a").write_text("x")
    daemon.sees_the_disk()


def test_many_reloads_under_writes_lose_nothing(daemon: Daemon) -> None:
    rules = [daemon.rule(changes=CONTENT, settle=f"{settle}ms") for settle in (10, 20)]
    daemon.configure(rules[0])
    daemon.start()
    for number in range(2, 12):
        for name in range(20):
            (daemon.root / f"{name}").write_text("x" * number)
        (daemon.root / f"{number}").unlink()
        daemon.configure(rules[1 - number % 2])
        reload(daemon, number)
    daemon.sees_the_disk()


def test_more_slots_begin_at_once_and_what_needs_a_start_is_said(daemon: Daemon) -> None:
    """History too is taken over: the jobs beyond it are forgotten without a restart."""
    doors = {name: gate(daemon, name) for name in ("one", "two")}
    slow = {name: shell('read line < "$1"', str(door)) for name, door in doors.items()}
    rules = [rule(name, slow[name], roots=[str(daemon.root)]) for name in doors]
    configure(daemon, *rules, daemon.rule(), daemon={"max_running": 1, "shutdown_timeout": "20s"})
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: sum(r["running"] for r in ask(daemon, "status")["rules"].values()) == 1, "one job runs", 20)
    changed = {"max_running": 3, "shutdown_timeout": "20s", "durability": "full", "history": {"jobs": 1}}
    configure(daemon, *rules, daemon.rule(), daemon=changed)
    reload(daemon, 2)
    daemon.says("daemon.durability was changed: it holds from the next start on")
    tell(daemon, ("created", "a"))
    for name in doors:
        until(daemon, name, running=1)
    for name, door in doors.items():
        door.write_text("go\n")
        quiet(daemon, name)
    configure(daemon, *rules, daemon.rule(), daemon={**changed, "max_running": 2})
    reload(daemon, 3)
    eventually(lambda: ask(daemon, "status")["journal"]["pruned"] > 0, "old jobs are forgotten", 20)
