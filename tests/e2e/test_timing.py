"""When a change is released: ready, settle, max_wait, batch."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, Writer, configure, quiet, rule, second_recorder, sentinel, tell, told


@pytest.mark.parametrize("ready", ["closed", "stable"])
def test_a_file_held_open_waits_for_its_close(daemon: Daemon, ready: str) -> None:
    daemon.configure(daemon.rule(ready=ready))
    daemon.start()
    with (daemon.root / "slow").open("w") as file:
        file.write("first")
        file.flush()
        sentinel(daemon, "1")
        file.write("second")
        file.flush()
        sentinel(daemon, "2")
        assert told(daemon.recorder, daemon.root) == [("created", "1"), ("created", "2")]
    tell(daemon, ("created", "1"), ("created", "2"), ("created", "slow"))
    daemon.sees_the_disk()


def test_a_file_already_open_at_start_waits_for_its_close(daemon: Daemon) -> None:
    with (daemon.root / "slow").open("w") as file:
        file.write("first")
        file.flush()
        daemon.configure(daemon.rule(initial="process"))
        daemon.start()
        sentinel(daemon)
        assert told(daemon.recorder, daemon.root) == [("created", "sentinel")]
    tell(daemon, ("created", "sentinel"), ("created", "slow"))


def test_immediate_takes_a_file_as_it_is(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(ready="immediate"))
    daemon.start()
    with (daemon.root / "log").open("w") as file:
        file.write("first")
        file.flush()
        daemon.sees_the_disk()
        file.write("second")
        file.flush()
        daemon.sees_the_disk()
    quiet(daemon)
    tell(daemon, ("created", "log"), ("modified", "log"))


@pytest.mark.parametrize("ready", ["closed", "stable"])
def test_who_never_closes_is_named_after_ready_timeout(daemon: Daemon, ready: str) -> None:
    daemon.configure(daemon.rule(ready=ready, ready_timeout="300ms"))
    daemon.start()
    with (daemon.root / "slow").open("w") as file:
        file.write("first")
        file.flush()
        daemon.says("is held open for writing by")
        line = next(line for line in daemon.log().splitlines() if "is held open" in line)
        assert str(daemon.root / "slow") in line
        assert f"(pid {os.getpid()})" in line
        assert not daemon.recorder.changes()
    tell(daemon, ("created", "slow"))
    daemon.says("slow is complete")


def test_settle_holds_a_change_back_until_a_reload_shortens_it(daemon: Daemon) -> None:
    quick = second_recorder(daemon)
    other = rule("quick", quick.action(), roots=[str(daemon.root)], settle="0s")
    configure(daemon, daemon.rule(settle="1h", max_wait="1h"), other)
    daemon.start()
    (daemon.root / "a").write_text("x")
    tell(daemon, ("created", "a"), recorder=quick)
    sentinel(daemon, recorder=quick)
    assert not daemon.recorder.changes()
    configure(daemon, daemon.rule(settle="10ms"), other)
    daemon.signal(signal.SIGHUP)
    tell(daemon, ("created", "a"), ("created", "sentinel"))


def test_max_wait_releases_a_file_that_is_written_for_ever(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(settle="200ms", max_wait="200ms", ready="immediate"))
    daemon.start()
    with Writer(daemon.root / "log", hold=True):
        eventually(lambda: len(daemon.recorder.changes()) >= 3, "it was released three times", 20)
    daemon.sees_the_disk()


def test_max_wait_never_makes_an_open_file_ready(daemon: Daemon) -> None:
    quick = second_recorder(daemon)
    configure(
        daemon,
        daemon.rule(settle="100ms", max_wait="100ms"),
        rule("quick", quick.action(), roots=[str(daemon.root)], settle="100ms", max_wait="100ms", ready="immediate"),
    )
    daemon.start()
    with Writer(daemon.root / "log", hold=True):
        eventually(lambda: len(quick.changes()) >= 3, "max_wait passed three times", 20)
        assert not daemon.recorder.changes()
    daemon.sees_the_disk()


def test_batch_rule_makes_one_job_of_a_burst(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(batch="rule", changes=CONTENT))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    for number in range(200):
        directory = daemon.root / str(number % 10)
        directory.mkdir(exist_ok=True)
        (directory / str(number)).write_text("x")
    daemon.signal(signal.SIGCONT)
    daemon.sees_the_disk()
    assert [len(document["changes"]) for document in daemon.recorder.documents()] == [200]


def test_a_path_that_is_not_ready_does_not_hold_its_rules_batch(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(batch="rule"))
    daemon.start()
    with (daemon.root / "slow").open("w") as file:
        file.write("first")
        file.flush()
        sentinel(daemon)
        assert told(daemon.recorder, daemon.root) == [("created", "sentinel")]
    tell(daemon, ("created", "sentinel"), ("created", "slow"))


def test_batch_path_keeps_a_quiet_path_apart_from_a_busy_one(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(settle="300ms", max_wait="1h", ready="immediate"))
    daemon.start()
    with Writer(daemon.root / "busy", hold=True):
        sentinel(daemon)
    daemon.sees_the_disk()


def test_deletions_come_first_and_parents_before_children(daemon: Daemon) -> None:
    (daemon.root / "d").mkdir()
    for name in ("d/gone", "gone", "before"):
        (daemon.root / name).write_text(name)
    daemon.configure(daemon.rule(batch="rule", changes=CONTENT))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    (daemon.root / "d" / "new").write_text("x")
    (daemon.root / "new").write_text("x")
    (daemon.root / "before").rename(daemon.root / "after")
    (daemon.root / "gone").unlink()
    (daemon.root / "d" / "gone").unlink()
    daemon.signal(signal.SIGCONT)
    daemon.sees_the_disk()
    assert told(daemon.recorder, daemon.root) == [
        ("deleted", "d/gone"),
        ("deleted", "gone"),
        ("moved", "after", "before"),
        ("created", "new"),
        ("created", "d/new"),
    ]
