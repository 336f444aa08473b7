"""What was there before the rule, and what happened while the daemon was stopped or killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, configure, gate, lines, quiet, rule, sentinel, shell, tell, told


def make(root: Path, *names: str) -> None:
    """Small files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def test_initial_ignore(daemon: Daemon) -> None:
    make(daemon.root, "a", "d/b")
    daemon.configure(daemon.rule())
    daemon.start()
    sentinel(daemon, "1")
    daemon.stop()
    daemon.start()
    sentinel(daemon, "2")
    assert told(daemon.recorder, daemon.root) == [("created", "1"), ("created", "2")]


def test_initial_process_takes_each_file_once(daemon: Daemon) -> None:
    make(daemon.root, "a", "d/b")
    daemon.configure(daemon.rule(initial="process"))
    daemon.start()
    tell(daemon, ("created", "a"), ("created", "d/b"))
    assert {document["trigger"] for document in daemon.recorder.documents()} == {"startup"}
    quiet(daemon)
    daemon.stop()
    daemon.start()
    sentinel(daemon)
    tell(daemon, ("created", "a"), ("created", "d/b"), ("created", "sentinel"))


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_what_changed_while_it_was_stopped_is_told_once(daemon: Daemon, how: str) -> None:
    make(daemon.root, "same", "changed", "gone", "d/gone", "d/same")
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    sentinel(daemon)
    quiet(daemon)  # so that the sentinel's outcome is in the journal
    getattr(daemon, how)()
    before = len(daemon.recorder.changes())
    (daemon.root / "changed").write_text("longer")
    (daemon.root / "gone").unlink()
    (daemon.root / "d" / "gone").unlink()
    make(daemon.root, "new", "e/new")
    (daemon.root / "d" / "same").rename(daemon.root / "moved")
    expected = [
        ("modified", "changed"),
        ("deleted", "gone"),
        ("deleted", "d/gone"),
        ("created", "new"),
        ("created", "e/new"),
        ("moved", "moved", "d/same"),
    ]
    daemon.start()
    tell(daemon, *expected, since=before)
    quiet(daemon)
    daemon.stop()
    daemon.start()
    sentinel(daemon, "last")
    tell(daemon, *expected, ("created", "last"), since=before)


def put_back(path: Path, content: str) -> None:
    """Rewrite a file with content of the same size, and put its times back."""
    status = path.stat()
    path.write_text(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("strict", [True, False])
def test_strict_finds_content_with_size_and_times_put_back(daemon: Daemon, strict: bool) -> None:
    make(daemon.root, "disguised", "same")
    daemon.configure(daemon.rule(strict=strict))
    daemon.start()
    sentinel(daemon, "1")
    daemon.stop()
    put_back(daemon.root / "disguised", "y")
    daemon.start()
    sentinel(daemon, "2")
    found = [("modified", "disguised")] if strict else []
    tell(daemon, ("created", "1"), *found, ("created", "2"))


def test_a_disguised_rewrite_is_seen_while_it_runs(daemon: Daemon) -> None:
    make(daemon.root, "disguised")
    daemon.configure(daemon.rule())
    daemon.start()
    put_back(daemon.root / "disguised", "y")
    tell(daemon, ("modified", "disguised"))


@pytest.mark.parametrize("told_of_it", [True, False])
def test_renamed_from_keeps_what_was_handled(daemon: Daemon, told_of_it: bool) -> None:
    make(daemon.root, "a", "b")
    daemon.configure(daemon.rule("old", initial="process"))
    daemon.start()
    tell(daemon, ("created", "a"), ("created", "b"))
    quiet(daemon, "old")
    daemon.stop()
    more = {"renamed_from": "old"} if told_of_it else {}
    daemon.configure(daemon.rule("new", initial="process", **more))
    daemon.start()
    sentinel(daemon)
    again = [] if told_of_it else [("created", "a"), ("created", "b")]
    tell(daemon, ("created", "a"), ("created", "b"), *again, ("created", "sentinel"))


def test_renamed_from_works_on_reload_too(daemon: Daemon) -> None:
    make(daemon.root, "a", "b")
    daemon.configure(daemon.rule("old", initial="process"))
    daemon.start()
    tell(daemon, ("created", "a"), ("created", "b"))
    quiet(daemon, "old")
    daemon.configure(daemon.rule("new", initial="process", renamed_from="old"))
    daemon.signal(signal.SIGHUP)
    daemon.says("generation 2")
    sentinel(daemon)
    tell(daemon, ("created", "a"), ("created", "b"), ("created", "sentinel"))


def test_new_patterns_catch_up_only_what_the_old_ones_knew(daemon: Daemon) -> None:
    make(daemon.root, "a.old", "a.new")
    daemon.configure(daemon.rule(include=["*.old"]))
    daemon.start()
    sentinel(daemon, "1.old")
    daemon.stop()
    (daemon.root / "a.old").write_text("longer")
    (daemon.root / "a.new").write_text("longer")
    daemon.configure(daemon.rule(include=["*.old", "*.new"]))
    daemon.start()
    sentinel(daemon, "2.new")
    tell(daemon, ("created", "1.old"), ("modified", "a.old"), ("created", "2.new"))


def test_a_disabled_rule_does_nothing_until_it_is_enabled(daemon: Daemon) -> None:
    other = rule("other", "log: {}", roots=[str(daemon.root)])
    configure(daemon, daemon.rule(enabled="false", initial="process"), other)
    daemon.start()
    make(daemon.root, "a")
    daemon.says(f"created {daemon.root}/a")
    assert not daemon.recorder.changes()
    configure(daemon, daemon.rule(enabled="true", initial="process"), other)
    daemon.signal(signal.SIGHUP)
    tell(daemon, ("created", "a"))


# ---- jobs that were cut off


def test_paths_of_a_job_cut_off_by_kill_run_again(daemon: Daemon) -> None:
    """One of them is changed and one is gone by then: none is lost, none resurrected."""
    door, out = gate(daemon), daemon.directory / "out"
    script = 'echo "$1 $2" >> "$3"; read line < "$4"; echo "done $2" >> "$3"'
    slow = shell(script, "{kind}", "{path}", str(out), str(door))
    daemon.configure(daemon.rule(changes=CONTENT, batch="rule", actions=slow))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    make(daemon.root, "changed", "gone", "same")
    daemon.signal(signal.SIGCONT)
    eventually(lambda: lines(out), "the job began", 20)
    daemon.kill()
    before = len(lines(out))
    assert before == 1
    (daemon.root / "changed").write_text("longer")
    (daemon.root / "gone").unlink()
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    eventually(lambda: len(daemon.recorder.changes()) >= 3, "three paths came again", 20)
    quiet(daemon)
    found = sorted(told(daemon.recorder, daemon.root))
    assert len(found) == 3
    assert ("deleted", "gone") in found
    assert {name for kind, name in found if kind in ("created", "modified")} == {"changed", "same"}
    assert len(lines(out)) == 1, "the command of the killed daemon went on"
    daemon.stop()
    daemon.start()
    sentinel(daemon)
    assert len(daemon.recorder.changes()) == 4


def test_a_job_cut_off_three_times_is_finished_in_the_end(daemon: Daemon) -> None:
    door, out = gate(daemon), daemon.directory / "out"
    script = 'echo "$1 $2" >> "$3"; read line < "$4"; echo "done $2" >> "$3"'
    daemon.configure(daemon.rule(actions=shell(script, "{kind}", "{path}", str(out), str(door))))
    daemon.start()
    make(daemon.root, "a")
    for begun in (1, 2, 3):
        eventually(lambda: len(lines(out)) == begun, "the job began", 20)  # noqa: B023 (called at once)
        daemon.kill()
        daemon.start()
    eventually(lambda: len(lines(out)) == 4, "the job began", 20)
    door.write_text("go\n")
    eventually(lambda: lines(out)[-1] == f"done {daemon.root}/a", "the job ended", 20)
    quiet(daemon)
    daemon.stop()
    daemon.start()
    assert len(lines(out)) == 5


def test_a_path_that_failed_for_good_is_tried_again_at_the_next_start(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    failing = shell('echo "$1" >> "$2"; exit 1', "{name}", str(out))
    daemon.configure(daemon.rule(actions=failing, retry={"attempts": 1}))
    daemon.start()
    make(daemon.root, "a", "b")
    eventually(lambda: sorted(lines(out)) == ["a", "b"], "both were tried", 20)
    quiet(daemon)
    daemon.stop()
    daemon.start()
    eventually(lambda: sorted(lines(out)) == ["a", "a", "b", "b"], "both were tried again", 20)
    make(daemon.root, "last")
    eventually(lambda: "last" in lines(out), "the last was tried", 20)
    assert len(lines(out)) == 5


def test_a_file_that_was_away_while_its_job_ran_is_seen_again(daemon: Daemon) -> None:
    """A directory renamed away and back leaves no trace in its files: not even their ctime tells."""
    out, begun, doors = daemon.directory / "out", daemon.directory / "begun", [gate(daemon, "1"), gate(daemon, "2")]
    first = 'read l < "$3"; cat "$1" >> "$4" || echo gone >> "$4"; read l < "$5"'
    script = f'echo >> "$2"; if [ $(wc -l < "$2") = 1 ]; then {first}; else cat "$1" >> "$4"; fi'
    daemon.configure(
        daemon.rule(
            actions=shell(script, "{path}", str(begun), str(doors[0]), str(out), str(doors[1])), changes=CONTENT
        )
    )
    daemon.start()
    place, away = daemon.root / "d", daemon.directory / "away"
    place.mkdir()
    (place / "f").write_text("content\n")
    eventually(lambda: lines(begun) == [""], "the job began", 20)
    place.rename(away)
    doors[0].write_text("go\n")
    eventually(lambda: lines(out) == ["gone"], "its command has found nothing", 20)
    away.rename(place)
    doors[1].write_text("go\n")
    eventually(lambda: lines(out)[1:] == ["content"], "another job sees it", 20)
    quiet(daemon)
