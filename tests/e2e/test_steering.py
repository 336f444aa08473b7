"""What operators do over the socket: pause, trigger, cancel, drop, log level, shutdown."""

from __future__ import annotations

import base64
import json
import os
import pwd
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control.api import RequestError
from tests.e2e.running import Daemon, eventually, named
from tests.e2e.steps import CONTENT, ask, gate, lines, quiet, sentinel, shell, tell, told, until

ME = pwd.getpwuid(os.geteuid()).pw_name


def of_rule(daemon: Daemon, name: str = "recorded") -> Mapping[str, Any]:
    return dict(ask(daemon, "status")["rules"][name])


def in_state_json(daemon: Daemon) -> Mapping[str, Any]:
    return dict(daemon.statistics().get("rules", {}).get("recorded", {}))


def newest(daemon: Daemon) -> int:
    """The number of the job that runs, or ran last."""
    return int(ask(daemon, "jobs", limit=1)["jobs"][0]["id"])


# ---- pause


def test_a_pause_is_kept_over_kill_and_restart_and_told_everywhere(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    paused = ask(daemon, "pause", rule="recorded", reason="disk swap", seconds=3600)["paused"]
    assert (paused["hold"], paused["by"], paused["discard"], paused["discarded"]) == ("paused", ME, False, 0)
    assert paused["since"] < paused["until"]
    (daemon.root / "a").write_text("x")
    until(daemon, dirty=1)
    daemon.kill()
    daemon.start()
    (daemon.root / "b").write_text("x")
    until(daemon, dirty=2, running=0)
    assert of_rule(daemon)["state"] == "paused"
    assert of_rule(daemon)["paused"] == paused
    assert ask(daemon, "flush")["paused"] == ["recorded"]
    why = f"paused by {ME} until {paused['until'].split('.')[0]}+00:00: disk swap"
    daemon.says(f"rule recorded is {why}. `filewatchctl resume recorded` lets it go on.")
    daemon.says(f"rule recorded is still {why}")
    eventually(lambda: in_state_json(daemon).get("paused") == why, "state.json tells of it", 20)
    assert ask(daemon, "status")["promise"]["kept"] is True
    assert ask(daemon, "resume", rule="recorded")["resumed"] == ["recorded"]
    tell(daemon, ("created", "a"), ("created", "b"))


def test_a_pause_whose_time_passed_while_the_daemon_was_down_is_over(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    until = ask(daemon, "pause", rule="recorded", seconds=0.3)["paused"]["until"]
    (daemon.root / "a").write_text("x")
    daemon.kill()
    eventually(lambda: datetime.now(UTC) > datetime.fromisoformat(until), "its time has passed")
    daemon.start()
    tell(daemon, ("created", "a"))
    eventually(lambda: of_rule(daemon)["paused"] is None, "it is paused no more", 20)
    daemon.says("rule recorded goes on: its pause is over")


def test_what_changes_during_a_pause_that_discards_is_never_worked(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    ask(daemon, "pause", rule="recorded", reason="mass copy", discard=True)
    (daemon.root / "a").write_text("x")
    (daemon.root / "b").write_text("x")
    eventually(lambda: of_rule(daemon)["paused"]["discarded"] == 2, "both are discarded", 20)
    (reason,) = ask(daemon, "status")["promise"]["reasons"]
    assert (reason["about"], reason["what"]) == ("paused", "recorded")
    eventually(lambda: in_state_json(daemon).get("discarded") == 2, "the count is on disk", 20)
    daemon.kill()
    (daemon.root / "c").write_text("x")  # also while the daemon is down
    daemon.start()
    eventually(lambda: of_rule(daemon)["paused"]["discarded"] == 3, "so is c", 20)
    ask(daemon, "resume", rule="recorded")
    assert ask(daemon, "status")["promise"]["kept"] is True
    sentinel(daemon)
    tell(daemon, ("created", "sentinel"))
    (daemon.root / "a").write_text("more")
    (daemon.root / "b").unlink()
    tell(daemon, ("created", "sentinel"), ("modified", "a"), ("deleted", "b"))
    assert of_rule(daemon)["counters"]["discarded"] == 3


def test_an_unknown_rule_is_not_paused(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    with pytest.raises(RequestError, match="there is no rule nope; there are recorded"):
        ask(daemon, "pause", rule="nope")


# ---- trigger


def test_a_job_by_hand_is_over_unchanged_files_too(daemon: Daemon) -> None:
    (daemon.root / "sub").mkdir()
    odd = os.fsdecode(b"\xff.txt")
    for name in ("a.txt", "b.log", "sub/c.txt", odd):
        (daemon.root / name).write_text("x")
    daemon.configure(daemon.rule(include=["*.txt"], changes=["created"]))
    daemon.start()
    outside = str(daemon.directory / "outside.txt")
    wanted = [str(daemon.root / name) for name in ("a.txt", "b.log", "sub", "./sub/../sub/c.txt")]
    encoded = base64.b64encode(os.fsencode(str(daemon.root / odd))).decode()
    found = ask(daemon, "trigger", rule="recorded", paths=[*wanted, outside], paths_b64=[encoded])
    assert (found["dry_run"], found["paths"], found["held"]) == (False, 3, None)
    assert [each["path"] for each in found["refused"]] == [wanted[1], wanted[2], outside]
    eventually(lambda: len(daemon.recorder.changes()) == 3, "a job got them", 20)
    names = {os.path.relpath(named(change), daemon.root) for change in daemon.recorder.changes()}
    assert names == {"a.txt", "sub/c.txt", odd}
    assert {document["trigger"] for document in daemon.recorder.documents()} == {"manual"}


def test_a_job_by_hand_over_no_path(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    assert ask(daemon, "trigger", rule="recorded")["paths"] == 0
    (document,) = eventually(daemon.recorder.documents, "the job ran", 20)
    assert (document["trigger"], document["changes"]) == ("manual", [])


def test_of_nothing_but_refused_paths_no_job_is_made(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    assert len(ask(daemon, "trigger", rule="recorded", paths=["/elsewhere"])["refused"]) == 1
    sentinel(daemon)
    assert len(daemon.recorder.documents()) == 1
    with pytest.raises(RequestError, match="paths: 'a' isn't an absolute path"):
        ask(daemon, "trigger", rule="recorded", paths=["a"])
    with pytest.raises(RequestError, match="it isn't base64"):
        ask(daemon, "trigger", rule="recorded", paths_b64=["?"])


def test_a_dry_run_says_what_it_would_do_and_does_nothing(daemon: Daemon) -> None:
    (daemon.root / "a b").write_text("x")
    daemon.configure(daemon.rule(actions=shell("exit 1", "{path}")))
    daemon.start()
    path = str(daemon.root / "a b")
    found = ask(daemon, "trigger", rule="recorded", paths=[path, "/elsewhere"], dry_run=True)
    (planned,) = found["planned"]
    assert (planned["kind"], planned["path"]) == ("modified", path)
    assert planned["steps"] == [f"run: sh -c 'exit 1' sh '{path}'"]
    assert (found["paths"], found["together"], found["more"], len(found["refused"])) == (1, [], 0, 1)
    state = of_rule(daemon)
    assert (state["dirty"], state["running"], state["counters"].get("changes", 0)) == (0, 0, 0)
    assert daemon.finished() == 0


def test_a_job_by_hand_of_a_paused_rule_waits(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    (daemon.root / "a").write_text("x")
    daemon.start()
    ask(daemon, "pause", rule="recorded", discard=True)
    held = ask(daemon, "trigger", rule="recorded", paths=[str(daemon.root / "a")])["held"]
    assert held.startswith(f"paused by {ME}")
    ask(daemon, "resume", rule="recorded")
    tell(daemon, ("modified", "a"))


# ---- cancel, drop


def slow(daemon: Daemon, **keys: Any) -> Path:
    """A rule whose command starts a child, says so and waits for both; returns the file where it says it."""
    out = daemon.directory / "out"
    script = 'sleep 1000 & echo "$1 $!" >> "$2"; wait'
    daemon.configure(daemon.rule(actions=shell(script, "{name}", str(out)), changes=CONTENT, **keys))
    return out


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_cancelled_jobs_command_ends_with_its_children_and_its_paths_wait(daemon: Daemon) -> None:
    out = slow(daemon)
    daemon.start()
    (daemon.root / "a").write_text("x")
    (line,) = eventually(lambda: lines(out), "the command runs", 20)
    child = int(line.split()[1])
    job = newest(daemon)
    found = ask(daemon, "cancel", id=job)
    assert (found["id"], found["was"], found["paths"]) == (job, "running", 1)
    eventually(lambda: not alive(child), "its child has ended", 20)
    until(daemon, running=0, failed=1, open=1, dirty=0)
    with pytest.raises(RequestError, match=f"job {job} has ended") as error:
        ask(daemon, "cancel", id=job)
    assert error.value.status == 409
    with pytest.raises(RequestError, match="there is no job 4711") as error:
        ask(daemon, "cancel", id=4711)
    assert error.value.status == 404
    daemon.kill()
    daemon.start()  # which compares with the disk
    until(daemon, running=0, failed=1, open=1, dirty=0)
    assert len(lines(out)) == 1
    (daemon.root / "a").write_text("changed")
    eventually(lambda: len(lines(out)) == 2, "a change brings it up again", 20)
    ask(daemon, "cancel", id=newest(daemon))
    until(daemon, running=0, failed=1)
    assert ask(daemon, "retry", rule="recorded")["paths"] == 1
    eventually(lambda: len(lines(out)) == 3, "so does a retry", 20)
    ask(daemon, "cancel", id=newest(daemon))
    until(daemon, running=0, failed=1)


def test_a_job_in_back_off_is_cancelled(daemon: Daemon) -> None:
    retry = {"attempts": 5, "backoff": "1h", "max_backoff": "1h"}
    daemon.configure(daemon.rule(actions=shell("exit 1", "{name}"), retry=retry))
    daemon.start()
    (daemon.root / "a").write_text("x")
    until(daemon, retrying=1, running=0)
    assert ask(daemon, "cancel", id=newest(daemon))["was"] == "backoff"
    until(daemon, retrying=0, failed=1)
    daemon.kill()
    daemon.start()
    until(daemon, failed=1, running=0, dirty=0, retrying=0)


def test_a_job_that_a_kill_cut_off_is_no_cancelled_one(daemon: Daemon) -> None:
    out = slow(daemon)
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out), "the command runs", 20)
    daemon.kill()
    daemon.start()
    eventually(lambda: len(lines(out)) == 2, "it runs again", 20)
    ask(daemon, "cancel", id=newest(daemon))
    until(daemon, running=0)


def test_what_was_dropped_is_handled_until_it_changes(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = 'echo "$1" >> "$2"; exit 1'
    action = shell(script, "{name}", str(out))
    daemon.configure(daemon.rule(actions=action, changes=CONTENT, retry={"attempts": 1}))
    daemon.start()
    for name in ("a", "b"):
        (daemon.root / name).write_text("x")
        until(daemon, failed=1 if name == "a" else 2)
    (daemon.root / "b").unlink()
    eventually(lambda: len(lines(out)) == 3, "its deletion fails, too", 20)
    until(daemon, failed=2, running=0, dirty=0)
    assert ask(daemon, "drop", rule="recorded") == {"paths": 2, "rules": {"recorded": 2}}
    until(daemon, failed=0, open=0)
    daemon.kill()
    daemon.start()
    quiet(daemon)
    assert len(lines(out)) == 3
    (daemon.root / "a").write_text("changed")
    eventually(lambda: lines(out)[3:] == ["a"], "a later change is one again", 20)
    assert ask(daemon, "drop", all=True)["rules"] in ({}, {"recorded": 1})
    with pytest.raises(RequestError, match="say what to drop: one of id"):
        ask(daemon, "drop")


# ---- the daemon itself


def test_the_log_level_holds_for_a_time_or_until_a_reload(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    found = ask(daemon, "level", level="debug")
    assert (found["level"], found["was"], found["until"]) == ("debug", "info", None)
    assert ask(daemon, "status")["log_level"] == "debug"
    ask(daemon, "reload")
    assert ask(daemon, "status")["log_level"] == "info"
    assert ask(daemon, "level", level="error", seconds=0.2)["until"] is not None
    eventually(lambda: ask(daemon, "status")["log_level"] == "info", "its time is over", 20)


def test_shutdown_answers_and_lets_jobs_finish(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo begin >> "$1"; read line < "$2"; echo end >> "$1"'
    daemon.configure(daemon.rule(actions=shell(script, str(out), str(door))))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["begin"], "the job began", 20)
    assert ask(daemon, "shutdown") == {"running": 1, "grace": 20.0}
    daemon.says("shutdown: finishing what runs")
    door.write_text("go\n")
    assert daemon.wait() == 0
    assert lines(out) == ["begin", "end"]
    assert json.loads((daemon.state_dir / "state.json").read_text())["rules"]["recorded"]["open"] == 0
    assert not told(daemon.recorder, daemon.root)
