"""Failed paths wait, over restarts too, until somebody asks for another try."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from filewatchd.control.api import RequestError
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, ask, configure, gate, lines, quiet, rule, rule_state, shell, tell, until

# fails until there is a file "mended" beside the root
SCRIPT = 'echo "$1" >> "$2/tried"; test -e "$2/mended"'


def failing(daemon: Daemon, name: str = "recorded", **keys: object) -> str:
    return daemon.rule(
        name, actions=shell(SCRIPT, "{name}", str(daemon.directory)), **{"retry": {"attempts": 1}, **keys}
    )


def fail(daemon: Daemon, *names: str, rule: str = "recorded") -> None:
    for name in names:
        (daemon.root / name).write_text("x")
    until(daemon, rule, failed=len(names), running=0, dirty=0)


def tried(daemon: Daemon) -> list[str]:
    return lines(daemon.directory / "tried")


def mend(daemon: Daemon) -> None:
    (daemon.directory / "mended").touch()


def test_failed_paths_are_tried_again_when_somebody_asks(daemon: Daemon) -> None:
    configure(daemon, failing(daemon))
    daemon.start()
    fail(daemon, "a", "b")
    mend(daemon)
    assert ask(daemon, "retry", rule="recorded") == {"paths": 2, "jobs": 0, "rules": {"recorded": 2}, "held": {}}
    until(daemon, failed=0, open=0, running=0, dirty=0)
    assert sorted(tried(daemon)) == ["a", "a", "b", "b"]
    assert ask(daemon, "retry", all=True) == {"paths": 0, "jobs": 0, "rules": {}, "held": {}}


def test_failed_paths_stay_failed_over_a_kill(daemon: Daemon) -> None:
    configure(daemon, failing(daemon))
    daemon.start()
    fail(daemon, "a")
    daemon.kill()
    daemon.start()
    until(daemon, failed=1, running=0, dirty=0)
    assert tried(daemon) == ["a", "a"]  # a start compares, and what was attempted without success is in doubt
    mend(daemon)
    assert ask(daemon, "retry", all=True)["paths"] == 1
    until(daemon, failed=0, open=0, dirty=0, running=0)
    assert tried(daemon) == ["a", "a", "a"]


def test_one_job_is_retried_by_its_number(daemon: Daemon) -> None:
    configure(daemon, failing(daemon))
    daemon.start()
    for count, name in enumerate("ab", start=1):
        (daemon.directory / name).write_text("x")
        (daemon.directory / name).rename(daemon.root / name)
        until(daemon, failed=count, running=0, dirty=0)
    mend(daemon)
    assert ask(daemon, "retry", id=1)["paths"] == 1
    until(daemon, failed=1, running=0, dirty=0)
    assert tried(daemon) == ["a", "b", "a"]
    assert ask(daemon, "retry", id=1)["paths"] == 0


def test_a_retry_ends_a_back_off(daemon: Daemon) -> None:
    pause = {"attempts": 5, "backoff": "1h", "max_backoff": "1h"}
    configure(daemon, failing(daemon, retry=pause))
    daemon.start()
    (daemon.root / "a").write_text("x")
    until(daemon, retrying=1, running=0)
    assert ask(daemon, "retry", all=True)["paths"] == 1
    eventually(lambda: tried(daemon) == ["a", "a"], "it was tried again", 20)
    until(daemon, retrying=1, running=0)
    mend(daemon)
    assert ask(daemon, "retry", id=1)["paths"] == 1
    until(daemon, retrying=0, running=0, open=0)
    assert tried(daemon) == ["a"] * 3


def test_many_asked_for_are_no_mass_change(daemon: Daemon) -> None:
    configure(daemon, failing(daemon, limit={"paths": 3, "per": "1h"}))
    daemon.start()
    fail(daemon, "a", "b", "c")
    mend(daemon)
    assert ask(daemon, "retry", all=True)["paths"] == 3
    assert until(daemon, failed=0, open=0, dirty=0, running=0)["paused"] is None


def test_paths_of_a_held_rule_wait_for_it(daemon: Daemon) -> None:
    configure(daemon, failing(daemon, limit={"paths": 3, "per": "1h"}))
    daemon.start()
    fail(daemon, "a")
    for name in "bcde":
        (daemon.root / name).write_text("x")
    daemon.says("rule recorded is held")
    until(daemon, running=0)
    mend(daemon)
    answer = ask(daemon, "retry", rule="recorded")
    assert answer["paths"] >= 1
    assert "more than 3 paths" in answer["held"]["recorded"]
    ask(daemon, "resume")
    until(daemon, failed=0, open=0, dirty=0, running=0)
    assert set(tried(daemon)) == set("abcde")


def test_a_running_path_is_not_retried_beside_itself(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo begin >> "$1"; read line < "$2"; exit 1'
    configure(daemon, daemon.rule(actions=shell(script, str(out), str(door)), retry={"attempts": 1}))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out), "the job began", 20)
    assert ask(daemon, "retry", all=True)["paths"] == 0
    door.write_text("go\n")
    until(daemon, failed=1, running=0)
    assert lines(out) == ["begin"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ({}, 400, "say what to retry"),
        ({"all": False}, 400, "say what to retry"),
        ({"id": None}, 400, "say what to retry"),
        ({"id": 1, "all": True}, 400, "say what to retry"),
        ({"id": "1"}, 400, "id: expected `int | null`, got `str`"),
        ({"id": True}, 400, "id: expected `int | null`, got `bool`"),
        ({"id": 1 << 70}, 400, "id: "),
        ({"id": 999}, 404, "there is no job 999"),
        ({"rule": "nope"}, 404, "there is no rule nope; there are recorded"),
        ({"rule": ["recorded"]}, 400, "rule: expected `str | null`, got `array`"),
        ({"rules": "recorded"}, 400, "there is no argument rules; there are id, rule, all"),
    ],
)
def test_what_is_wrong_with_a_retry_is_said(
    asked: Daemon, arguments: dict[str, object], status: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        ask(asked, "retry", **arguments)
    assert refused.value.status == status


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("asked"))
    daemon.configure(daemon.rule())
    daemon.start()
    yield daemon
    daemon.stop()


def test_a_misspelt_resume_resumes_nothing(asked: Daemon) -> None:
    with pytest.raises(RequestError, match="there is no argument rules; there are rule"):
        ask(asked, "resume", rules="recorded")
    with pytest.raises(RequestError, match="there is no rule nope"):
        ask(asked, "resume", rule="nope")
    assert rule_state(asked)["paused"] is None


def test_a_failed_job_over_no_path_is_asked_for_once_more(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = 'echo begin >> "$1"; [ $(wc -l < "$1") = 2 ]'
    daemon.configure(daemon.rule(actions=shell(script, str(out)), retry={"attempts": 1}))
    daemon.start()
    ask(daemon, "trigger", rule="recorded")
    failed = eventually(lambda: ask(daemon, "jobs", state="failed")["jobs"], "it has failed", 20)
    number = failed[0]["id"]
    assert (failed[0]["paths"], lines(out)) == (0, ["begin"])
    retried = ask(daemon, "retry", id=number)
    assert (retried["paths"], retried["jobs"]) == (0, 1)
    eventually(lambda: ask(daemon, "jobs", state="ok")["jobs"], "another one is well", 20)
    assert ask(daemon, "retry", id=number + 1)["jobs"] == 0


def test_a_failed_job_over_no_path_is_tried_again_by_itself(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = 'echo begin >> "$1"; [ $(wc -l < "$1") = 3 ]'
    retries = {"attempts": 3, "backoff": "10ms", "max_backoff": "10ms"}
    daemon.configure(daemon.rule(actions=shell(script, str(out)), retry=retries))
    daemon.start()
    ask(daemon, "trigger", rule="recorded")
    (job,) = eventually(lambda: ask(daemon, "jobs", state="ok")["jobs"], "it is well at last", 20)
    assert (job["attempt"], lines(out)) == (3, ["begin"] * 3)


def test_a_move_in_back_off_says_nothing_of_an_old_name_that_is_there_anew(daemon: Daemon) -> None:
    """The new file has been told by a job of its own; told after it, the move would say that it is gone."""
    refuse = shell('test "$1" != b || test -e "$2/mended"', "{name}", str(daemon.directory))
    retries = {"attempts": 2, "backoff": "1h", "max_backoff": "1h"}
    configure(
        daemon,
        rule("recorded", refuse, daemon.recorder.action(), roots=[str(daemon.root)], retry=retries, changes=CONTENT),
    )
    daemon.start()
    (daemon.root / "a").write_text("first")
    tell(daemon, ("created", "a"))
    (daemon.root / "a").rename(daemon.root / "b")
    until(daemon, retrying=1, running=0, dirty=0)
    (daemon.root / "a").write_text("second")
    tell(daemon, ("created", "a"), ("modified", "a"))
    until(daemon, running=0, dirty=0)
    mend(daemon)
    ask(daemon, "retry", all=True)
    tell(daemon, ("created", "a"), ("modified", "a"), ("created", "b"))
    quiet(daemon)
    daemon.stop()
    daemon.start()
    quiet(daemon)
    tell(daemon, ("created", "a"), ("modified", "a"), ("created", "b"))


def test_a_move_in_back_off_is_told_as_two_changes_after_a_reload(daemon: Daemon) -> None:
    refuse = shell('test "$1" != b || test -e "$2/mended"', "{name}", str(daemon.directory))
    retries = {"attempts": 2, "backoff": "1h", "max_backoff": "1h"}
    keys: dict[str, object] = {"roots": [str(daemon.root)], "retry": retries, "changes": CONTENT}
    configure(daemon, rule("recorded", refuse, daemon.recorder.action(), **keys))
    daemon.start()
    (daemon.root / "a").write_text("first")
    tell(daemon, ("created", "a"))
    (daemon.root / "a").rename(daemon.root / "b")
    until(daemon, retrying=1, running=0, dirty=0)
    mend(daemon)
    configure(daemon, rule("recorded", refuse, daemon.recorder.action(), **keys, settle="60ms"))
    ask(daemon, "reload")
    tell(daemon, ("created", "a"), ("deleted", "a"), ("created", "b"))
