from __future__ import annotations

from collections.abc import Sequence

import pytest

from filewatchd.actions.base import Step
from filewatchd.jobs.findings import Counters, Finding, Findings
from filewatchd.jobs.journal import OUTPUT_TAIL, Journal, ManifestUpdate, NewJob, Result
from filewatchd.jobs.queue import JobState
from filewatchd.jobs.records import AttemptRecord, History, JobRecord, Shown
from filewatchd.model import OK, Change, FileIdentity, Kind, Outcome, Trigger, Verdict
from filewatchd.state.database import Database
from filewatchd.state.manifest import Manifest

FAILED = Outcome(Verdict.FAILED, "exit status 1")
REJECTED = Outcome(Verdict.REJECTED, "row 7: no amount")
CANCELLED = Outcome(Verdict.CANCELLED)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture
def history(database: Database) -> History:
    return History(database)


def changed(name: str, kind: Kind = Kind.MODIFIED) -> Change:
    return Change(kind, f"/in/{name}", "/in", None if kind is Kind.DELETED else FileIdentity(1, 2, 3, 4))


def new_job(*names: str, rule: str = "rule", at: int = 100, **more: object) -> NewJob:
    changes = [changed(name) for name in names]
    return NewJob(rule, Trigger.CHANGE, 1, changes, at, at + 1)._replace(**more)  # type: ignore[arg-type]


def result(job: NewJob, *outcomes: Outcome | None) -> Result:
    return Result(list(zip(job.changes, outcomes, strict=True)))


def run(journal: Journal, job: NewJob, *outcomes: Outcome | None, at: int = 200) -> int:
    number = journal.start(job)
    journal.finish(number, result(job, *outcomes), at)
    return number


def shown(history: History, number: int) -> JobRecord:
    record = history.show(number)
    assert record is not None
    return record


def open_paths(journal: Journal) -> dict[int, list[str]]:
    return {job.id: [change.path for change in job.changes] for job in journal.open_jobs()}


# ---- a job's life


def test_a_job_is_there_before_it_starts(journal: Journal, history: History) -> None:
    job = new_job("a", "b", story=b"raw", first_ns=90)
    number = journal.start(job)
    (found,) = journal.open_jobs()
    assert found == (number, "rule", Trigger.CHANGE, "running", 1, 1, 100, None, 0, job.changes)
    assert (shown(history, number).story, shown(history, number).first_ns) == (b"raw", 90)


def test_a_finished_job_keeps_counts_and_leaves_rows_in_the_manifest(
    journal: Journal, history: History, database: Database
) -> None:
    manifest = Manifest(database)
    baseline = manifest.begin("rule", "/in", "digest", 1).id
    manifest.put(baseline, [("gone", FileIdentity(9, 9, 9, 9), 0)])
    job = new_job("a", "b", "c")
    number = journal.start(job)
    update = ManifestUpdate(baseline, [("a", FileIdentity(1, 2, 3, 4), 1)], ["gone"])
    outcomes = [OK, Outcome(Verdict.SKIPPED, "nothing to do"), REJECTED]
    ended = result(job, *outcomes)._replace(updates=[update], output=b"text", message="fine", progress="3 of 3")
    assert journal.finish(number, ended, 200) is JobState.OK
    assert manifest.rows(baseline, ["a", "gone"]) == {"a": (1, 2, 3, 4, 1)}
    assert open_paths(journal) == {}
    record = shown(history, number)
    assert (record.state, record.total, record.ok, record.skipped, record.rejected, record.open) == (
        "ok",
        3,
        1,
        1,
        1,
        0,
    )
    assert (record.output, record.message, record.progress, record.finished_ns) == (b"text", "fine", "3 of 3", 200)
    assert [(path.path, path.verdict, path.message) for path in record.paths] == [
        ("/in/c", Verdict.REJECTED, "row 7: no amount"),
        ("/in/a", Verdict.OK, ""),
        ("/in/b", Verdict.SKIPPED, "nothing to do"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "state", "left"),
    [
        ([OK, FAILED], "failed", ["/in/b"]),
        ([FAILED, CANCELLED], "failed", ["/in/a", "/in/b"]),
        ([OK, CANCELLED], "cancelled", ["/in/b"]),
        ([None, REJECTED], "cancelled", ["/in/a"]),
        ([OK, OK], "ok", []),
    ],
)
def test_what_is_not_handled_stays_open(
    journal: Journal, history: History, outcomes: Sequence[Outcome | None], state: str, left: list[str]
) -> None:
    number = run(journal, new_job("a", "b"), *outcomes)
    assert shown(history, number).state == state
    assert open_paths(journal) == ({number: left} if left else {})


def test_a_path_that_vanished_during_its_attempt_stays_open(journal: Journal) -> None:
    job = new_job("a", "b")
    number = journal.start(job)
    assert journal.finish(number, result(job, OK, OK)._replace(reopened={"/in/b"}), 200) is JobState.OK
    assert open_paths(journal) == {number: ["/in/b"]}


def test_a_retry_leaves_open_what_it_is_not_about(journal: Journal) -> None:
    """One that went, or was given up, is no part of it; until a newer job has it, only this one tells of it."""
    job = new_job("a", "went", "given up")
    number = journal.start(job)
    journal.backoff(number, result(job, FAILED, FAILED, FAILED), 150, 300)
    again = job._replace(changes=[changed("a")])
    journal.attempt(number, again.changes, 2, 301)
    assert open_paths(journal) == {number: ["/in/a", "/in/went", "/in/given up"]}
    newer = journal.start(new_job("went", taken={number: ["/in/went"]}))
    journal.finish(number, result(again, OK)._replace(repeated=True), 400)
    assert open_paths(journal) == {number: ["/in/given up"], newer: ["/in/went"]}
    journal.release(number, ["/in/given up"])
    assert open_paths(journal) == {newer: ["/in/went"]}


def test_a_retry_goes_on_with_what_is_left_and_counts_all_attempts(journal: Journal, history: History) -> None:
    job = new_job("a", "b", "c")
    number = journal.start(job)
    journal.backoff(number, result(job, OK, FAILED, FAILED), now_ns=4000, until_ns=5000, resume=1)
    (waiting,) = journal.open_jobs()
    assert (waiting.state, waiting.until_ns, waiting.resume, waiting.attempt) == ("backoff", 5000, 1, 1)
    again = [changed("b")._replace(identity=FileIdentity(7, 7, 7, 7)), changed("c")]
    journal.attempt(number, again, 2, 5001, resume=1)
    (running,) = journal.open_jobs()
    assert (running.state, running.until_ns, running.resume, running.attempt) == ("running", None, 1, 2)
    assert list(running.changes) == again
    journal.finish(number, Result([(again[0], OK), (again[1], FAILED)]), 6000)
    record = shown(history, number)
    assert (record.state, record.total, record.ok, record.failed, record.attempt) == ("failed", 3, 2, 1, 2)
    assert record.open_changes == [changed("c")]


def test_a_try_that_is_repeated_leaves_a_row(journal: Journal, history: History) -> None:
    job = new_job("a", "b")
    number = journal.start(job)
    assert not history.attempts(number)
    journal.backoff(number, result(job, OK, FAILED)._replace(message="exit status 1"), now_ns=4000, until_ns=5000)
    journal.attempt(number, [changed("b")], 2, 5001, resume=1)
    journal.backoff(number, Result([(changed("b"), FAILED)]), now_ns=6000, until_ns=7000)
    journal.attempt(number, [changed("b")], 3, 7001, resume=1)
    journal.finish(number, Result([(changed("b"), OK)]), 8000)
    assert history.attempts(number) == [
        AttemptRecord(1, 101, 4000, 0, {"ok": 1, "failed": 1}, "exit status 1"),
        AttemptRecord(2, 5001, 6000, 1, {"failed": 1}, ""),
    ]


def test_a_moved_path_is_shown_with_its_old_name(journal: Journal, history: History) -> None:
    moved = Change(Kind.MOVED, "/in/b", "/in", FileIdentity(1, 2, 3, 4), "/in/a")
    number = run(journal, new_job()._replace(changes=[moved]), OK)
    assert shown(history, number).paths == [Shown("/in/b", Kind.MOVED, Verdict.OK, "", "/in/a")]


def test_a_finished_job_shows_at_most_20_paths_bad_ones_first(journal: Journal, history: History) -> None:
    job = new_job(*map(str, range(1000)))
    outcomes = [OK if number != 999 else REJECTED for number in range(1000)]
    number = run(journal, job, *outcomes)
    paths = shown(history, number).paths
    assert [path.path for path in paths] == ["/in/999", *(f"/in/{n}" for n in range(19))]


def test_the_tail_of_the_output_is_kept(journal: Journal, history: History) -> None:
    job = new_job("a")
    number = journal.start(job)
    journal.finish(number, result(job, OK)._replace(output=b"x" + b"y" * OUTPUT_TAIL, message="m" * 9999), 200)
    assert shown(history, number).output == b"y" * OUTPUT_TAIL
    assert len(shown(history, number).message) == 2000


def test_an_empty_batch_is_a_job_too(journal: Journal, history: History) -> None:
    job = new_job(trigger=Trigger.SCHEDULE)
    number = journal.start(job)
    assert [found.trigger for found in journal.open_jobs()] == [Trigger.SCHEDULE]
    assert journal.finish(number, Result([]), 200) is JobState.OK
    assert open_paths(journal) == {}


def test_hostile_names_and_timestamps(journal: Journal) -> None:
    odd = Change(Kind.MOVED, "/in/\udcff\n", "/in", FileIdentity(2**64 - 1, 1, 10**21, -1), "/in/\udcfe", "/in/x")
    job = new_job()._replace(changes=[odd, changed("plain"), changed("gone", Kind.DELETED)])
    journal.start(job)
    (found,) = journal.open_jobs()
    assert found.changes == job.changes
    assert isinstance(found.changes[0].identity, FileIdentity)


# ---- numbers


def test_numbers_only_grow_over_restarts(journal: Journal, database: Database) -> None:
    assert [run(journal, new_job("a"), OK) for _ in range(3)] == [1, 2, 3]
    assert run(Journal(database), new_job("a"), OK) == 4


def test_a_start_that_fails_uses_no_number(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.start(new_job()._replace(changes=[object()]))  # type: ignore[list-item]
    assert journal.start(new_job("a")) == 1


# ---- open paths


def test_a_newer_job_takes_open_paths_over(journal: Journal, history: History) -> None:
    older = run(journal, new_job("a", "b"), FAILED, FAILED)
    newer = journal.start(new_job("b", "c", taken={older: {"/in/b"}}))
    assert open_paths(journal) == {older: ["/in/a"], newer: ["/in/b", "/in/c"]}
    newest = journal.start(new_job("a", taken={older: {"/in/a"}, 999: {"/in/x"}}))
    assert open_paths(journal) == {newer: ["/in/b", "/in/c"], newest: ["/in/a"]}
    assert shown(history, older).state == "failed"


def test_a_job_in_backoff_that_loses_all_paths_is_over(journal: Journal, history: History) -> None:
    job = new_job("a")
    number = journal.start(job)
    journal.backoff(number, result(job, FAILED), now_ns=4000, until_ns=5000)
    journal.release(number, {"/in/a"})
    record = shown(history, number)
    assert (record.state, record.open, record.finished_ns) == ("cancelled", 0, 101)
    assert open_paths(journal) == {}


def test_what_a_crash_cut_off_is_cancelled_and_stays_open(
    journal: Journal, history: History, database: Database
) -> None:
    running = journal.start(new_job("a", "b"))
    job = new_job("c")
    waiting = journal.start(job)
    journal.backoff(waiting, result(job, FAILED), now_ns=4000, until_ns=5000)
    done = run(journal, new_job("d"), OK)
    after = Journal(database)
    assert after.interrupted(300) == 2
    assert after.interrupted(301) == 0
    assert [shown(history, number).state for number in (running, waiting, done)] == ["cancelled", "cancelled", "ok"]
    assert shown(history, running).cancelled == 2
    assert open_paths(after) == {running: ["/in/a", "/in/b"], waiting: ["/in/c"]}


def test_a_renamed_rule_keeps_its_open_paths(journal: Journal) -> None:
    run(journal, new_job("a"), FAILED)
    journal.rename_rule("rule", "better")
    assert [job.rule for job in journal.open_jobs()] == ["better"]


# ---- steps


def test_steps_are_found_again_in_their_order(journal: Journal, database: Database) -> None:
    number = journal.start(new_job("a"))
    journal.record_step(number, "intent", {"path": "/in/\udcff", "size": 2**70, "hash": b"\x00"})
    journal.record_step(number, "archived")
    again = Journal(database)
    assert again.steps(number) == [
        Step("intent", {"path": "/in/\udcff", "size": 2**70, "hash": b"\x00"}),
        Step("archived", {}),
    ]
    assert again.unfinished_steps("rule") == [number]
    assert again.unfinished_steps("other") == []
    again.clear_steps(number)
    assert again.unfinished_steps("rule") == []
    assert again.steps(number) == []


# ---- history


def test_the_history_is_read_newest_first(journal: Journal, history: History) -> None:
    run(journal, new_job("a"), OK)
    run(journal, new_job("b"), FAILED)
    run(journal, new_job("c", rule="other"), OK)

    def numbers(**wanted: object) -> list[int]:
        return [record.id for record in history.recent(**wanted)]  # type: ignore[arg-type]

    assert numbers() == [3, 2, 1]
    assert numbers(limit=2) == [3, 2]
    assert numbers(before=3) == [2, 1]
    assert numbers(rule="rule") == [2, 1]
    assert numbers(rule="rule", state="failed") == [2]
    assert history.states() == {"ok": 2, "failed": 1}
    assert history.show(99) is None


# ---- findings and counters


def test_a_finding_is_kept_renewed_and_cleared(database: Database) -> None:
    findings = Findings(database)
    findings.raise_finding("rule", "damage", "one bad file", "/in/\udcff", 10)
    findings.raise_finding("rule", "damage", "two bad files", None, 20)
    findings.raise_finding("other", "damage", "x", "/x", 5)
    assert findings.all("rule") == [Finding("rule", "damage", "two bad files", None, 10, 20, 2)]
    assert [finding.path for finding in findings.all()] == ["/x", None]
    findings.rename_rule("other", "better")
    assert findings.clear("better", "damage")
    assert not findings.clear("better", "damage")


def test_counters_add_up(database: Database) -> None:
    counters = Counters(database)
    counters.add({("rule", "ok"): 2, ("rule", "failed"): 1, ("other", "ok"): 5})
    counters.add({("rule", "ok"): 3})
    assert counters.all() == {"rule": {"ok": 5, "failed": 1}, "other": {"ok": 5}}
    counters.rename_rule("other", "rule")
    assert counters.all() == {"rule": {"ok": 10, "failed": 1}}
