"""A job's story: its attempts and where the time went, of jobs in every state."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from filewatchd.control import documents
from filewatchd.jobs.noticed import Event, Story
from filewatchd.jobs.records import AttemptRecord, JobRecord, Shown
from filewatchd.model import Change, Hint, Kind, Verdict
from filewatchd.service.listing import row
from filewatchd.service.story import Kept, delays, told
from filewatchd.watch.dirty import HINTS, IN_CLOSE_WRITE, IN_CREATE

S = 10**9
NOW = 100 * S


def job(state: str, **more: object) -> JobRecord:
    """A job whose first event was at 1 s, that was looked at 3 s later and started at once."""
    fields = dict.fromkeys(JobRecord._fields[:21], 0)
    texts = {"rule": "rule", "trigger": "change", "message": "", "progress": ""}
    times = {"created_ns": 4 * S, "started_ns": 4 * S, "finished_ns": None, "until_ns": None, "first_ns": S}
    return JobRecord(**{**fields, **texts, **times, "id": 7, "state": state, "attempt": 1, "total": 2, **more})  # type: ignore[arg-type]


def kept(record: JobRecord, *attempts: AttemptRecord, due: int | None = 3 * S) -> Kept:
    return Kept(record, Story(due, ()), attempts, ())


def failed(number: int, began: int, ended: int, **counts: int) -> AttemptRecord:
    return AttemptRecord(number, began * S, ended * S, 0, counts or {"failed": 1}, "exit status 1")


def seconds(story: Kept) -> Sequence[float | None]:
    found = delays(story, NOW)
    return [found.settling, found.queued, found.running, found.backing_off, found.total]


def test_a_job_that_succeeds_at_once() -> None:
    assert seconds(kept(job("ok", finished_ns=6 * S))) == [2, 1, 2, 0, 5]


def test_a_retried_job() -> None:
    record = job("ok", attempt=3, started_ns=20 * S, finished_ns=21 * S)
    assert seconds(kept(record, failed(1, 4, 5), failed(2, 8, 10))) == [2, 1, 1 + 2 + 1, 3 + 10, 20]


def test_a_job_that_runs() -> None:
    assert seconds(kept(job("running"))) == [2, 1, 96, 0, 99]


def test_a_job_in_back_off() -> None:
    assert seconds(kept(job("backoff", until_ns=NOW + S), failed(1, 4, 5))) == [2, 1, 1, 95, 99]


def test_a_job_without_events_was_queued_by_whoever_asked() -> None:
    record = job("ok", first_ns=None, started_ns=5 * S, finished_ns=6 * S)
    assert seconds(kept(record, due=None)) == [None, 1, 1, 0, 2]


def test_a_clock_that_was_set_back_makes_no_negative_times() -> None:
    assert seconds(kept(job("ok", created_ns=0, started_ns=0, finished_ns=0))) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        ("ok", {"attempt": 2, "ok": 3, "finished_ns": NOW}, [{"ok": 1, "failed": 2}, {"ok": 2}]),
        ("failed", {"attempt": 2, "ok": 1, "failed": 2, "finished_ns": NOW}, [{"ok": 1, "failed": 2}, {"failed": 2}]),
        ("running", {"attempt": 2, "ok": 1, "failed": 2}, [{"ok": 1, "failed": 2}, {}]),
        ("backoff", {"attempt": 1, "ok": 1, "failed": 2}, [{"ok": 1, "failed": 2}]),
    ],
)  # fmt: skip
def test_each_attempt_has_its_own_outcomes(state: str, more: dict[str, object], expected: list[dict[str, int]]) -> None:
    story = kept(job(state, **more), failed(1, 4, 5, ok=1, failed=2))
    document = told(story, row(story.job, {}), NOW)
    assert [attempt.outcomes for attempt in document.attempts] == expected
    assert [attempt.finished is None for attempt in document.attempts] == [False, state == "running"][: len(expected)]


def test_names_of_any_bytes_and_what_a_step_recorded() -> None:
    record = job(
        "failed",
        paths=[Shown("/in/\udcff", Kind.MOVED, Verdict.FAILED, "no \udcff", "/in/a")],
        open_changes=[Change(Kind.MOVED, "/in/\udcff", "/in"), Change(Kind.DELETED, "/in/b", "/in")],
        output=b"caf\xe9\n",
    )
    event = Event(S, 2 * S, "/in/\udcff", HINTS[IN_CREATE | IN_CLOSE_WRITE] | Hint.AGAIN)
    steps = [("copied", {"to": "/out/\udcff", "digest": b"\xff", "parts": [1, None]})]
    document = told(Kept(record, Story(None, [event]), (), steps), row(record, {}), NOW)
    assert document.changes == [
        documents.ChangeTold(
            kind="moved",
            path="/in/\ufffd",
            path_b64="L2luL/8=",
            old_path="/in/a",
            outcome="failed",
            message="no \ufffd",
        ),
        documents.ChangeTold(kind="deleted", path="/in/b", outcome=None, message=""),
    ]
    assert document.output == "caf\ufffd\n"
    assert document.steps[0].data == {"to": "/out/\ufffd", "digest": "\ufffd", "parts": [1, None]}
    (noticed,) = document.events
    assert (noticed.time, noticed.last) == ("1970-01-01T00:00:01.000000+00:00", "1970-01-01T00:00:02.000000+00:00")
    assert (noticed.path_b64, noticed.events) == ("L2luL/8=", ["create", "close_write", "again"])
