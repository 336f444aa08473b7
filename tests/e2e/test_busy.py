"""What happens while a rule's job runs, fails or takes too long: on_busy, concurrency, max_running, retry, timeout."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import configure, gate, lines, quiet, rule, rule_state, shell, told, until


def waiting(out: Path, door: Path, *words: str) -> str:
    """The action that writes down its words, reads a line from the gate, and writes them down again."""
    script = 'o=$1; g=$2; shift 2; echo "begin $*" >> "$o"; read line < "$g"; echo "end $*" >> "$o"'
    return shell(script, str(out), str(door), *words)


def has(out: Path, *expected: str) -> None:
    """Wait until exactly these lines were written, in this order."""
    eventually(lambda: len(lines(out)) >= len(expected), f"{out.name} has {expected}", 20)
    assert lines(out) == list(expected)


def test_queue_holds_what_comes_meanwhile_for_the_next_job(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    daemon.configure(daemon.rule(settle="0s", actions=waiting(out, door, "{paths}")))  # so that dirty means due
    daemon.start()
    first, a, b = (daemon.root / name for name in ("0", "a", "b"))
    (daemon.directory / "aside").write_text("x")
    (daemon.directory / "aside").rename(first)  # a single event: nothing of it is left to come
    has(out, f"begin {first}")
    a.write_text("x")
    b.write_text("x")
    a.write_text("longer")
    until(daemon, dirty=2)
    assert lines(out) == [f"begin {first}"]
    door.write_text("go\n")
    has(out, f"begin {first}", f"end {first}", f"begin {a} {b}")
    door.write_text("go\n")
    has(out, f"begin {first}", f"end {first}", f"begin {a} {b}", f"end {a} {b}")
    quiet(daemon)
    assert len(lines(out)) == 4


def test_a_write_during_its_own_job_is_a_new_change(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    daemon.configure(daemon.rule(actions=waiting(out, door, "{paths}")))
    daemon.start()
    path = daemon.root / "a"
    path.write_text("x")
    has(out, f"begin {path}")
    path.write_text("y")
    door.write_text("go\n")
    has(out, f"begin {path}", f"end {path}", f"begin {path}")
    door.write_text("go\n")
    has(out, f"begin {path}", f"end {path}", f"begin {path}", f"end {path}")


def test_restart_merges_the_cancelled_batch_into_the_new_one(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    daemon.configure(daemon.rule(on_busy="restart", actions=waiting(out, door, "{paths}")))
    daemon.start()
    a, b = daemon.root / "a", daemon.root / "b"
    a.write_text("x")
    has(out, f"begin {a}")
    b.write_text("x")
    has(out, f"begin {a}", f"begin {a} {b}")
    door.write_text("go\n")
    has(out, f"begin {a}", f"begin {a} {b}", f"end {a} {b}")
    quiet(daemon)
    assert len(lines(out)) == 3
    assert rule_state(daemon)["counters"]["cancelled"] == 1


def test_a_second_look_restarts_nothing(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    a, b = daemon.root / "a", daemon.root / "b"
    a.write_text("x")
    daemon.configure(daemon.rule(on_busy="restart", settle="0s", actions=waiting(out, door, "{paths}")))
    daemon.start()
    os.link(a, b)
    has(out, f"begin {b}")
    until(daemon, dirty=1)  # the older name is to be looked at
    door.write_text("go\n")
    has(out, f"begin {b}", f"end {b}")
    quiet(daemon)
    assert "cancelled" not in rule_state(daemon)["counters"]


def test_names_of_one_file_written_together_are_one_restart_at_most(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    a, b = daemon.root / "a", daemon.root / "b"
    a.write_text("x")
    os.link(a, b)
    daemon.configure(daemon.rule(on_busy="restart", settle="0s", actions=waiting(out, door, "{paths}")))
    daemon.start()
    a.write_text("changed by one of its names")
    eventually(lambda: lines(out)[-1:] == [f"begin {a} {b}"], "one job has both", 20)
    quiet_but_running = until(daemon, dirty=0, running=1)
    assert quiet_but_running["counters"].get("cancelled", 0) <= 1
    door.write_text("go\n")
    quiet(daemon)
    assert lines(out)[-1] == f"end {a} {b}"


def test_skip_leaves_paths_for_their_next_change_and_counts_them(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    daemon.configure(daemon.rule(on_busy="skip", actions=waiting(out, door, "{paths}")))
    daemon.start()
    first, left, last = (daemon.root / name for name in ("0", "left", "z"))
    first.write_text("x")
    has(out, f"begin {first}")
    left.write_text("x")
    eventually(lambda: rule_state(daemon)["counters"].get("skipped_while_busy") == 1, "it was skipped", 20)
    door.write_text("go\n")
    has(out, f"begin {first}", f"end {first}")
    quiet(daemon)
    assert len(lines(out)) == 2
    last.write_text("x")
    eventually(lambda: len(lines(out)) == 3, "the next job began", 20)
    assert set(lines(out)[2].split()[1:]) == {str(left), str(last)}
    door.write_text("go\n")
    eventually(lambda: len(lines(out)) == 4, "the next job ended", 20)


def test_parallel_runs_up_to_concurrency_and_never_one_path_twice(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", daemon.directory / "door"
    script = 'echo "begin $1" >> "$2"; until test -e "$3"; do sleep 0.01; done; echo "end $1" >> "$2"'
    action = shell(script, "{name}", str(out), str(door))
    daemon.configure(daemon.rule(on_busy="parallel", concurrency=2, actions=action))
    daemon.start()
    (daemon.root / "a").write_text("x")
    has(out, "begin a")
    (daemon.root / "a").write_text("longer")  # waits for its own job
    (daemon.root / "b").write_text("x")
    has(out, "begin a", "begin b")
    (daemon.root / "c").write_text("x")
    until(daemon, running=2, dirty=2)
    assert lines(out) == ["begin a", "begin b"]
    door.touch()
    quiet(daemon)
    ended = [line.removeprefix("end ") for line in lines(out) if line.startswith("end")]
    assert sorted(ended) == ["a", "a", "b", "c"]
    assert most_at_once(lines(out)) == 2


def most_at_once(written: list[str]) -> int:
    """How many jobs ran at once, at most."""
    running = most = 0
    for line in written:
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    return most


def test_max_running_bounds_all_rules(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    rules = [rule(n, waiting(out, door, n), roots=[str(daemon.root)], include=[f"*.{n}"]) for n in ("one", "two")]
    configure(daemon, *rules, daemon={"max_running": 1})
    daemon.start()
    (daemon.root / "a.one").write_text("x")
    has(out, "begin one")
    (daemon.root / "a.two").write_text("x")
    until(daemon, "two", dirty=1)
    assert lines(out) == ["begin one"]
    door.write_text("go\n")
    has(out, "begin one", "end one", "begin two")
    door.write_text("go\n")
    has(out, "begin one", "end one", "begin two", "end two")


# ---- failures


def test_retry_ends_after_its_attempts(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    failing = shell('echo "$1 $2" >> "$3"; exit 3', "{name}", "{attempt}", str(out))
    daemon.configure(daemon.rule(retry={"attempts": 3, "backoff": "50ms", "max_backoff": "60ms"}, actions=failing))
    daemon.start()
    (daemon.root / "a").write_text("x")
    has(out, "a 1", "a 2", "a 3")
    quiet(daemon)
    assert lines(out) == ["a 1", "a 2", "a 3"]
    assert rule_state(daemon)["open"] == 1
    assert rule_state(daemon)["last"]["outcomes"] == {"failed": 1}
    assert f"failed: {daemon.root}/a" in daemon.log()


def test_a_failing_path_holds_up_no_other(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    failing = shell('echo "$1" >> "$2"; test "$1" != bad', "{name}", str(out))
    daemon.configure(
        daemon.rule(batch="rule", retry={"attempts": 2, "backoff": "1h", "max_backoff": "1h"}, actions=failing)
    )
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    for name in ("a", "bad", "c"):
        (daemon.root / name).write_text("x")
    daemon.signal(signal.SIGCONT)
    eventually(lambda: sorted(lines(out)) == ["a", "bad", "c"], "all were tried", 20)
    (daemon.root / "d").write_text("x")
    eventually(lambda: "d" in lines(out), "the next was tried", 20)
    assert sorted(lines(out)) == ["a", "bad", "c", "d"]
    until(daemon, retrying=1)


def test_a_newer_change_supersedes_a_retry(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = 'grep -q good "$5"; outcome=$?; echo "$1 $2 $3" >> "$4"; exit $outcome'  # it has read before it tells
    failing = shell(script, "{kind}", "{name}", "{attempt}", str(out), "{path}")
    daemon.configure(daemon.rule(retry={"attempts": 5, "backoff": "1h", "max_backoff": "1h"}, actions=failing))
    daemon.start()
    path = daemon.root / "a"
    path.write_text("bad")
    has(out, "created a 1")
    path.write_text("good")
    has(out, "created a 1", "created a 1")
    quiet(daemon)
    assert rule_state(daemon)["open"] == 0
    path.write_text("good too")
    has(out, "created a 1", "created a 1", "modified a 1")


def test_a_retry_resumes_at_the_first_unfinished_action(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    first = shell('echo "first $1" >> "$2"', "{attempt}", str(out))
    second = shell('echo "second $1" >> "$2"; test "$1" = 2', "{attempt}", str(out))
    third = shell('echo "third $1" >> "$2"', "{attempt}", str(out))
    chain = f"{first}\n      - {second}\n      - {third}"
    daemon.configure(daemon.rule(retry={"attempts": 3, "backoff": "50ms"}, actions=chain))
    daemon.start()
    (daemon.root / "a").write_text("x")
    has(out, "first 1", "second 1", "second 2", "third 2")
    quiet(daemon)
    assert len(lines(out)) == 4


def test_a_retry_survives_a_restart(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    failing = shell('echo "$1" >> "$2"; test -e "$3"', "{name}", str(out), str(daemon.directory / "good"))
    daemon.configure(daemon.rule(retry={"attempts": 9, "backoff": "1h", "max_backoff": "1h"}, actions=failing))
    daemon.start()
    (daemon.root / "a").write_text("x")
    has(out, "a")
    until(daemon, retrying=1)
    daemon.kill()
    (daemon.directory / "good").touch()
    daemon.start()
    has(out, "a", "a")
    quiet(daemon)
    assert rule_state(daemon)["open"] == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("{path}", {"slow": "failed", "a": "ok", "b": "ok"}),
        ("{paths}", {"slow": "failed", "a": "failed", "b": "failed"}),
    ],
)
def test_timeout_is_for_each_path_or_for_the_batch(daemon: Daemon, word: str, expected: dict[str, str]) -> None:
    script = 'for p in "$@"; do case $p in */slow) exec sleep 10000;; esac; done'
    action = shell(script, word)
    log = "log: {level: warning, message: 'passed {name}'}"
    daemon.configure(daemon.rule(batch="rule", timeout="1s", retry={"attempts": 1}, actions=f"{action}\n      - {log}"))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    for name in expected:
        (daemon.root / name).write_text("x")
    daemon.signal(signal.SIGCONT)
    eventually(lambda: rule_state(daemon).get("last"), "the job ended", 20)
    assert "timed out after 1 s" in daemon.log()
    for name, verdict in expected.items():
        assert (f"passed {name}" in daemon.log()) == (verdict == "ok"), name
        assert (f"failed: {daemon.root}/{name}:" in daemon.log()) == (verdict == "failed"), name


def test_actions_run_in_order_and_a_failure_stops_only_its_path(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    first = shell('echo "first $1" >> "$2"; test "$1" != bad', "{name}", str(out))
    second = shell('echo "second $1" >> "$2"', "{name}", str(out))
    log = "log: {message: 'third {name}'}"
    daemon.configure(
        daemon.rule(batch="rule", retry={"attempts": 1}, actions=f"{first}\n      - {second}\n      - {log}")
    )
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    for name in ("a", "bad", "c"):
        (daemon.root / name).write_text("x")
    daemon.signal(signal.SIGCONT)
    eventually(lambda: rule_state(daemon).get("last"), "the job ended", 20)
    assert lines(out) == ["first a", "first bad", "first c", "second a", "second c"]
    assert "third a" in daemon.log()
    assert "third c" in daemon.log()
    assert "third bad" not in daemon.log()


def test_shutdown_timeout_ends_a_job_that_takes_too_long(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    configure(daemon, daemon.rule(actions=waiting(out, door, "{name}")), daemon={"shutdown_timeout": "200ms"})
    daemon.start()
    (daemon.root / "a").write_text("x")
    has(out, "begin a")
    daemon.stop()
    has(out, "begin a")
    configure(daemon, daemon.rule())
    daemon.start()
    eventually(lambda: told(daemon.recorder, daemon.root) == [("created", "a")], "the path runs again", 20)
