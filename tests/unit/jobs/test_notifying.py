"""Notifications: what is told when, once, together, and over everything that comes between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.base import Context, JobContext
from filewatchd.errors import ActionError
from filewatchd.jobs import notifying
from filewatchd.model import OK, ActionSpec, Event, Found, Notice, Outcome, Retry, Trigger, Verdict
from filewatchd.rules.holding import Brake
from filewatchd.state.database import Database
from filewatchd.testing import RecordingAction, RecordingOptions, eventually
from tests.unit.jobs.stage import Stage, play

BAD = Outcome(Verdict.FAILED, "no space left", retryable=False)
TWICE = Retry(attempts=2, backoff=0.01, max_backoff=0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "LINGER", 0.02)
    monkeypatch.setattr(notifying, "PAUSE", 0.05)
    monkeypatch.setattr(notifying, "RETRY", Retry(attempts=4, backoff=0.01, max_backoff=0.01))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "journal.db"))


class Receiver:
    """What a rule's job does, and what its notifications get: ``notices``. ``refuses``: how often, by note."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.alone = OK
        self.notices: list[tuple[str, Notice]] = []
        self.refuses: dict[str, int] = {}
        self.error = ActionError("nobody is there")

    def __call__(self, job: JobContext, note: str) -> Any:
        notice = job.notice
        if notice is None:
            return {c.path: self.outcomes.get(c.path, OK) for c in job.changes} if job.changes else self.alone
        if self.refuses.get(note, 0) > 0:
            self.refuses[note] -= 1
            raise self.error
        self.notices.append((note, notice))
        return OK

    def told(self, event: Event) -> list[Notice]:
        return [notice for _, notice in self.notices if notice.event is event]


class Teller(RecordingAction):
    """An opened action; as a package it opens others of its kind."""

    def __init__(self, receiver: Receiver, note: str = "") -> None:
        super().__init__()
        self.receiver, self.note = receiver, note

    def open(self, options: Any, ctx: Context) -> Teller:
        return Teller(self.receiver, options.note)

    def reconfigure(self, options: Any) -> bool:
        self.note = options.note
        return True

    async def run(self, job: JobContext) -> Any:
        return self.receiver(job, self.note)


class Scene:
    """A stage whose rule has notifications, and what comes of them."""

    def __init__(self, stage: Stage, receiver: Receiver) -> None:
        self.stage, self.receiver = stage, receiver

    async def configure(self, events: tuple[Event, ...] = tuple(Event), notes: tuple[str, ...] = ("a",)) -> None:
        specs = tuple(ActionSpec("record", RecordingOptions(note=note), note) for note in notes)
        await self.stage.configure(**{f"on_{event.value}": specs for event in events})

    async def works(self, name: str, outcome: Outcome) -> None:
        path = self.stage.root / name
        self.receiver.outcomes[str(path)] = outcome
        before = self.stage.pipeline.counters.get(outcome.verdict.value, 0)
        path.write_text(f"{path.stat().st_size if path.exists() else 0} and more")
        self.stage.mark(name)
        counters = self.stage.pipeline.counters
        await eventually(lambda: counters.get(outcome.verdict.value, 0) > before, f"a job of {name}")
        await eventually(lambda: not len(self.stage.pipeline.batches), "its end")

    async def told(self, event: Event, count: int = 1) -> Notice:
        await eventually(lambda: len(self.receiver.told(event)) >= count, f"{count} notices of {event}")
        await self.quiet()
        assert len(self.receiver.told(event)) == count
        return self.receiver.told(event)[-1]

    async def quiet(self) -> None:
        """All that there is has been told, and given up for now."""
        engine = self.stage.engine
        shadows = [p for p in engine.pipelines.values() if p.settings.event is not None]
        await eventually(
            lambda: not engine.notifying._timers and not any(len(p.batches) or p.backoff.has_alone() for p in shadows),
            "the notifications' rest",
        )

    def states(self, name: str) -> list[str]:
        rows = self.stage.engine.store.database.execute("SELECT state FROM jobs WHERE rule = ? ORDER BY id", (name,))
        return [state for (state,) in rows]


def staged(database: Database, tmp_path: Path, story: Callable[[Scene], Awaitable[None]]) -> Receiver:
    receiver = Receiver()
    action = Teller(receiver)

    async def told(stage: Stage) -> None:
        await story(Scene(stage, receiver))

    play(database, tmp_path / "root", action, told)
    return receiver


def test_a_rule_fails_and_recovers_once_whatever_its_jobs_do(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        await scene.works("a", OK)
        await scene.works("a", BAD)
        notice = await scene.told(Event.FAILURE)
        (entry,) = notice.entries
        assert (notice.rule, entry.key, entry.path) == ("rule", "failed", f"{scene.stage.root}/a")
        assert "no space left" in notice.message
        await scene.works("b", BAD)
        await scene.works("b", OK)
        assert not scene.receiver.told(Event.RECOVERY)  # a has failed, and nobody has done anything about it
        await scene.works("a", OK)
        (entry,) = (await scene.told(Event.RECOVERY)).entries
        assert entry.message.startswith("it works again, after a failure since ")
        assert entry.first_ns == notice.entries[0].first_ns
        assert entry.times == 2
        await scene.works("c", OK)
        await scene.works("c", BAD)
        await scene.told(Event.FAILURE, 2)

    staged(database, tmp_path, story)


def test_a_job_over_no_path_counts_too(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        for alone, event in ((BAD, Event.FAILURE), (OK, Event.RECOVERY)):
            scene.receiver.alone = alone
            scene.stage.pipeline.request(Trigger.SCHEDULE, ())
            assert (await scene.told(event)).entries[0].path is None

    staged(database, tmp_path, story)


def test_a_rule_that_is_held_has_failed_until_somebody_resumes_it(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        scene.stage.pipeline.holding.brake(Brake.LOOPED, "it triggers itself")
        assert (await scene.told(Event.FAILURE)).message == "it is held: it triggers itself"
        scene.stage.pipeline.resume()
        await scene.told(Event.RECOVERY)

    staged(database, tmp_path, story)


def test_what_comes_together_is_told_together(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        context = scene.stage.pipeline.actions[0].context
        context.raise_findings([Found(f"damage:{number}", f"{number} is damaged") for number in range(250)])
        context.finding("one more", "is damaged", "/srv/\udcff")
        notice = await scene.told(Event.FINDING)
        assert len(notice.entries) == 100
        assert notice.more == 151
        assert notice.message == "0 is damaged (and 250 more)"

    staged(database, tmp_path, story)


def test_a_finding_is_told_when_it_says_something_new_and_when_it_is_over(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        context = scene.stage.pipeline.actions[0].context
        context.finding("damage", "one file", "/srv/\udcff")
        notice = await scene.told(Event.FINDING)
        assert notice.entries[0].path == "/srv/\udcff"
        context.finding("damage", "one file", "/srv/a")
        context.finding("damage", "two files")
        (entry,) = (await scene.told(Event.FINDING, 2)).entries
        assert (entry.message, entry.times) == ("two files", 3)
        context.clear_finding("damage")
        context.clear_finding("damage")
        (entry,) = (await scene.told(Event.RECOVERY)).entries
        assert (entry.key, entry.message) == ("damage", "two files")

    staged(database, tmp_path, story)


def test_only_the_actions_that_failed_are_tried_again(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure(notes=("a", "b", "c"))
        scene.receiver.refuses["b"] = 2
        await scene.works("x", BAD)
        await eventually(lambda: len(scene.receiver.notices) == 3, "all three")
        await scene.quiet()
        assert [note for note, _ in scene.receiver.notices] == ["a", "c", "b"]
        assert scene.states("rule:on_failure") == ["ok"]

    staged(database, tmp_path, story)


def test_what_could_not_be_told_is_told_with_the_next_and_nothing_is_told_of_that(
    database: Database, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        scene.receiver.refuses["a"] = 4
        context = scene.stage.pipeline.actions[0].context
        context.finding("one", "first")
        await eventually(lambda: scene.states("rule:on_finding") == ["failed"], "all attempts")
        assert not scene.receiver.notices
        context.finding("two", "second")
        notice = await scene.told(Event.FINDING)
        assert [entry.key for entry in notice.entries] == ["one", "two"]
        assert scene.states("rule:on_failure") == []
        assert scene.states("rule:on_finding") == ["failed", "ok"]

    staged(database, tmp_path, story)


def test_a_receiver_may_say_when_to_come_again(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        scene.receiver.refuses["a"] = 1
        scene.receiver.error = ActionError("too many", after=0.3)
        loop = asyncio.get_running_loop()
        began = loop.time()
        scene.stage.pipeline.actions[0].context.finding("one", "first")
        await scene.told(Event.FINDING)
        assert loop.time() - began >= 0.3

    staged(database, tmp_path, story)


def test_what_was_not_told_before_a_restart_is_told_after_it(database: Database, tmp_path: Path) -> None:
    async def before(scene: Scene) -> None:
        await scene.configure()
        await scene.works("x", BAD)  # and drained within the moment that a notice waits

    async def after(scene: Scene) -> None:
        await scene.configure()
        assert "no space left" in (await scene.told(Event.FAILURE)).message
        await scene.works("x", OK)
        await scene.told(Event.RECOVERY)

    assert not staged(database, tmp_path, before).notices
    (tmp_path / "root/x").unlink()
    (tmp_path / "root").rmdir()
    staged(database, tmp_path, after)


def test_a_reload_changes_who_is_told_and_forgets_what_nobody_wants_to_hear(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure(events=(Event.FINDING,))
        scene.receiver.refuses["a"] = 100
        context = scene.stage.pipeline.actions[0].context
        context.finding("one", "first")
        await eventually(lambda: scene.receiver.refuses["a"] < 100, "a try")
        await scene.configure(events=(Event.FINDING,), notes=("b",))
        assert [note for note, _ in scene.receiver.notices] == [] or scene.receiver.notices[0][0] == "b"
        await scene.told(Event.FINDING)
        assert scene.receiver.notices[0][0] == "b"
        await scene.configure(events=())
        assert list(scene.stage.engine.pipelines) == ["rule"]
        scene.stage.pipeline.actions[0].context.finding("two", "second")
        assert scene.stage.engine.store.notices.waiting() == {}

    staged(database, tmp_path, story)


def test_somebody_may_see_whether_it_arrives(database: Database, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        await scene.configure()
        scene.stage.engine.pipelines["rule:on_failure"].request(Trigger.MANUAL, ())
        notice = await scene.told(Event.FAILURE)
        assert notice.test
        assert notice.message == "this is a test"

    staged(database, tmp_path, story)


def test_names_that_are_no_utf8_are_told_as_far_as_they_can_be(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for logger in ("filewatchd.jobs", "filewatchd.action"):  # pytest's workers can't send such names
        monkeypatch.setattr(logging.getLogger(logger), "disabled", True)

    async def story(scene: Scene) -> None:
        await scene.configure()
        await scene.works("a", Outcome(Verdict.FAILED, "/srv/\udcff: no space left", retryable=False))
        assert (await scene.told(Event.FAILURE)).message.startswith("/srv/\ufffd: no space left (/")
        scene.stage.pipeline.actions[0].context.finding("damage:/srv/\udcff", "/srv/\udcff is damaged", "/srv/\udcff")
        (entry,) = (await scene.told(Event.FINDING)).entries
        assert (entry.key, entry.message, entry.path) == (
            "damage:/srv/\\udcff", "/srv/\\udcff is damaged", "/srv/\udcff"
        )  # fmt: skip
        scene.stage.pipeline.actions[0].context.clear_finding("damage:/srv/\udcff")
        assert scene.stage.engine.store.findings.all() == []
        scene.stage.pipeline.holding.brake(Brake.LOOPED, "/srv/\udcff triggers itself")
        assert scene.stage.engine.store.holds.get("rule") is not None

    staged(database, tmp_path, story)
