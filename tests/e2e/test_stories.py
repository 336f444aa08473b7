"""What the control socket tells of rules and jobs: lists, and the whole story of one job."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from filewatchd.control.api import RequestError
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, gate, shell


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ended(daemon: Daemon, rule: str, state: str = "ok") -> Mapping[str, Any]:
    """The newest job of a rule, once it is in this state."""
    jobs = eventually(lambda: ask(daemon, "jobs", rule=rule, state=state)["jobs"], f"a job of {rule} is {state}", 20)
    return dict(jobs[0])


def test_the_rules_as_they_are_configured(daemon: Daemon) -> None:
    daemon.configure(
        daemon.rule("first", description="what it is for", include=["*.csv"], changes=["deleted", "created"]),
        daemon.rule("off", enabled=False),
    )
    daemon.start()
    first, off = ask(daemon, "rules")["rules"]
    assert (first["name"], first["state"], first["paused"]) == ("first", "idle", None)
    assert (first["description"], first["include"], first["presets"]) == ("what it is for", ["*.csv"], ["editors"])
    assert first["roots"] == [str(daemon.root)]
    assert (first["changes"], first["settle"], first["actions"]) == (["created", "deleted"], 0.05, ["exec"])
    assert first["origin"] == f"{daemon.config}:5"
    assert (off["name"], off["state"], off["enabled"]) == ("off", "disabled", False)
    place, line = off["origin"].rsplit(":", 1)
    assert daemon.config.read_text().splitlines()[int(line) - 1] == "  - name: off"
    assert place == str(daemon.config)


def test_the_whole_story_of_a_retried_job(daemon: Daemon) -> None:
    """Fails once, then works: what was noticed, both attempts, what they printed, and where the time went."""
    script = 'echo try; if [ ! -e "$1" ]; then touch "$1"; exit 1; fi'
    mark = daemon.directory / "tried"
    daemon.configure(daemon.rule("twice", actions=shell(script, str(mark)), retry={"attempts": 3, "backoff": "300ms"}))
    daemon.start()
    (daemon.root / "a").write_text("x")
    number = ended(daemon, "twice")["id"]
    story = ask(daemon, "job", id=number)
    assert (story["job"]["rule"], story["job"]["trigger"], story["job"]["attempt"]) == ("twice", "change", 2)
    (event,) = story["events"]
    assert event["path"] == str(daemon.root / "a")
    assert event["events"] == ["create", "modify", "close_write"]
    assert story["changes"] == [{"kind": "created", "path": str(daemon.root / "a"), "outcome": "ok", "message": ""}]
    first, second = story["attempts"]
    assert (first["attempt"], first["outcomes"], second["attempt"], second["outcomes"]) == (
        1, {"failed": 1}, 2, {"ok": 1},
    )  # fmt: skip
    assert "exit status 1" in first["message"]
    assert story["output"] == "try\ntry\n"
    times = [event["time"], story["job"]["created"], first["started"], first["finished"], second["started"],
             second["finished"]]  # fmt: skip
    assert sorted(times, key=when) == times
    delays = story["delays"]
    parts = ("settling", "queued", "running", "backing_off")
    assert delays["settling"] >= 0.05
    assert delays["backing_off"] == pytest.approx(
        (when(second["started"]) - when(first["finished"])).total_seconds(), abs=1e-5
    )
    assert delays["backing_off"] >= 0.15, "half of the back-off at least"
    assert sum(delays[part] for part in parts) == pytest.approx(delays["total"], abs=0.001)
    assert delays["total"] == pytest.approx((when(second["finished"]) - when(event["time"])).total_seconds(), abs=1e-5)


def test_a_story_outlives_the_daemon(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(actions=shell("exit 1"), retry={"attempts": 2, "backoff": "10ms"}))
    daemon.start()
    (daemon.root / "a").write_text("x")
    number = ended(daemon, "recorded", "failed")["id"]
    before = ask(daemon, "job", id=number)
    daemon.stop()
    daemon.start()
    assert ask(daemon, "job", id=number) == before
    assert [attempt["attempt"] for attempt in before["attempts"]] == [1, 2]


def test_a_job_that_runs_says_how_far_it_is(daemon: Daemon) -> None:
    hold = gate(daemon)
    script = f'[ "$1" != b ] || cat {hold}'
    daemon.configure(daemon.rule(actions=shell(script, "{name}"), settle="300ms", ready="immediate"))
    daemon.start()
    daemon.signal(signal.SIGSTOP)  # so that the three are read at once, and are one job's
    for name in "abc":
        (daemon.root / name).write_text("x")
    daemon.signal(signal.SIGCONT)
    eventually(
        lambda: [job["progress"] for job in ask(daemon, "jobs", state="running")["jobs"]] == ["1 of 3 paths"],
        "the job is at its second path",
        20,
    )
    (running,) = ask(daemon, "jobs", state="running")["jobs"]
    assert (running["finished"], running["seconds"], running["outcomes"]) == (None, None, {})
    story = ask(daemon, "job", id=running["id"])
    assert [(change["path"][-1], change["outcome"]) for change in story["changes"]] == [(n, None) for n in "abc"]
    assert [attempt["finished"] for attempt in story["attempts"]] == [None]
    hold.write_text("go on")
    assert ended(daemon, "recorded")["id"] == running["id"]


def test_jobs_are_listed_by_rule_state_and_time_in_pages(daemon: Daemon) -> None:
    daemon.configure(
        daemon.rule("good", actions=shell("true"), include=["*.good"]),
        daemon.rule("bad", actions=shell("exit 1"), include=["*.bad"], retry={"attempts": 1}),
    )
    daemon.start()
    for name in ("1.good", "2.bad", "3.good", "4.good"):
        (daemon.root / name).write_text("x")
        ended(daemon, "bad" if name.endswith("bad") else "good", "failed" if name.endswith("bad") else "ok")
        ask(daemon, "flush")
    everything = ask(daemon, "jobs")["jobs"]
    numbers = [job["id"] for job in everything]
    assert numbers == sorted(numbers, reverse=True)
    assert [job["rule"] for job in everything] == ["good", "good", "bad", "good"]
    assert [job["id"] for job in ask(daemon, "jobs", rule="bad")["jobs"]] == [numbers[2]]
    assert [job["id"] for job in ask(daemon, "jobs", state="ok")["jobs"]] == [numbers[0], numbers[1], numbers[3]]
    assert ask(daemon, "jobs", rule="bad", state="ok")["jobs"] == []
    since = ask(daemon, "jobs", since=everything[1]["created"])["jobs"]
    assert [job["id"] for job in since] == numbers[:2]
    page = ask(daemon, "jobs", limit=3)
    assert ([job["id"] for job in page["jobs"]], page["next_before"]) == (numbers[:3], numbers[2])
    last = ask(daemon, "jobs", limit=3, before=page["next_before"])
    assert ([job["id"] for job in last["jobs"]], last["next_before"]) == (numbers[3:], None)


def test_what_cant_be_told_is_said(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    for name, arguments, status, text in (
        ("job", {"id": 99}, 404, "there is no job 99"),
        ("jobs", {"since": "yesterday"}, 400, "a time is expected"),
        ("jobs", {"since": "2030-01-31T12:00:00"}, 400, "the time zone is missing"),
    ):
        with pytest.raises(RequestError, match=text) as refused:
            ask(daemon, name, **arguments)
        assert refused.value.status == status
