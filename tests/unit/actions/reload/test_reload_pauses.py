"""Cooldown, splay, the breaker and the slow look, with the clock in the test's hand: also set ahead and back."""

from __future__ import annotations

import os
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.base import Command
from filewatchd.actions.reload.action import LOOK_EVERY
from filewatchd.actions.reload.attempt import Attempt
from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError
from filewatchd.model import Outcome, Trigger
from filewatchd.testing import FakeJob, changed
from filewatchd.testing.spawn import Scripted
from tests.amounts import amount
from tests.unit.actions.reload.scene import FAILS, Scene, ends, save, within

ATTEMPTS = 3  # the rule's own
HOUR = 3600.0


def wall(scene: Scene) -> float:
    return scene.clock.wall_ns() / 1e9


def full_splay(patch: pytest.MonkeyPatch) -> None:
    """This host waits as long as any may."""
    patch.setattr(Attempt, "_splay", lambda self: self._desk.options.splay)


async def due(scene: Scene) -> list[str]:
    """Do what was asked for; returns the commands that ran."""
    scene.asked.clear()
    await scene.ctx.follow_ups["look"]
    while scene.ctx.requested:
        trigger, _ = scene.ctx.requested[0]
        scene.ctx.requested.clear()
        await scene.action.run(FakeJob(trigger=trigger))
        await scene.ctx.follow_ups["look"]
    return list(scene.asked)


APPLIED = ["check", "apply", "probe"]


@pytest.mark.parametrize("jump", [-24 * HOUR, -1.0, 0.0, 24 * HOUR])
@pytest.mark.parametrize("pause", ["cooldown", "splay"])
def test_a_clock_that_is_set_puts_nothing_off_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: str, jump: float
) -> None:
    full_splay(monkeypatch)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        await save(scene, "two")
        scene.clock.advance(60)
        await due(scene)
        await save(scene, "three")
        if scene.record.state is State.SYNCED:  # no cooldown any more
            await save(scene, "four")
        assert scene.record.state is State.WAITING
        scene.clock.set_wall(wall(scene) + jump)
        applied = False
        for _ in range(2):
            scene.clock.advance(30)
            applied = applied or await due(scene) == APPLIED
        assert applied
        assert (scene.record.state, scene.record.sure) == (State.SYNCED, True)

    within(work, tmp_path, **{pause: 30.0})


def test_what_waits_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_splay(monkeypatch)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        assert ((await scene.ask("history")).due, scene.action.statistics()["due"]) == (None, None)
        outcome = await save(scene, "two")
        due = (await scene.ask("history")).due
        assert datetime.fromisoformat(due).timestamp() == pytest.approx(wall(scene) + 2 * HOUR)
        assert scene.action.statistics()["due"] == due
        assert outcome.message == "passed; it is applied in 2h"
        assert (await scene.ask("plan")).steps[0] == "wait 2h more (waiting); `filewatchctl reload retry app` doesn't"
        scene.file.write_text("three")  # what a plan finds besides is no version that waits
        assert "wait" not in (await scene.ask("plan")).steps[0]

    within(work, tmp_path, splay=2 * HOUR)


@pytest.mark.parametrize("back", [False, True], ids=["went on", "was set back"])
def test_a_wait_whose_timer_is_lost_is_found_by_the_slow_look(tmp_path: Path, back: bool) -> None:
    """A clock that was set back while the daemon was down leaves a timer for a time that is far away."""

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        await save(scene, "two")
        await save(scene, "three")
        assert scene.record.state is State.WAITING
        scene.ctx.timers.cancel("later")
        if back:
            scene.clock.set_wall(wall(scene) - 24 * HOUR)
        scene.clock.advance(LOOK_EVERY)
        found = await due(scene)
        if back:  # it was due at a time that means nothing now
            scene.clock.advance(30)
            found = await due(scene)
        assert (found, scene.record.state) == (APPLIED, State.SYNCED)

    within(work, tmp_path, cooldown=30.0)


def test_a_set_that_is_saved_all_the_time_is_applied_at_its_splay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each save is a new version; the wait began with the first."""
    full_splay(monkeypatch)

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        for number in range(5):
            await save(scene, f"saved {number}")
            assert scene.asked == ["check"]
            scene.clock.advance(14)
        await save(scene, "last")
        assert scene.asked == APPLIED

    within(work, tmp_path, splay=60.0)


def test_the_slow_look_finds_what_nothing_told_of(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        assert await due(scene) == []
        scene.file.write_text("two")
        scene.clock.advance(LOOK_EVERY - 1)
        assert await due(scene) == []
        scene.clock.advance(1)
        assert await due(scene) == APPLIED
        for _ in range(3):
            scene.clock.advance(LOOK_EVERY)
            assert await due(scene) == []

    within(work, tmp_path)


@pytest.mark.parametrize("why", ["check", "apply", "probe"])
def test_what_is_held_is_left_alone_until_it_changes_or_somebody_says_so(tmp_path: Path, why: str) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        scene.fail(why)
        scene.file.write_text("two")
        for attempt in range(1, ATTEMPTS + 1):
            await scene.action.run(FakeJob(attempt=attempt))
        assert scene.record.state is State.HELD
        for _ in range(10):
            scene.clock.advance(LOOK_EVERY)
            assert await due(scene) == []
            assert (await save(scene, "two")).verdict == ("skipped" if why == "check" else "failed")  # no change
            assert scene.asked == []
        scene.mend(why)
        await scene.ask("retry")
        assert await due(scene) == APPLIED
        assert (scene.record.state, scene.ctx.findings) == (State.SYNCED, {})

    within(work, tmp_path)


def test_the_breaker_forgets_what_a_clock_that_was_set_back_has_of_the_future(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        for text in ("two", "one", "two", "one", "two", "one"):
            await save(scene, text)
        scene.clock.set_wall(wall(scene) - HOUR)
        await save(scene, "two")
        assert scene.asked == APPLIED

    within(work, tmp_path)


def test_a_tripped_breaker_rests_for_its_time_and_no_longer(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        await save(scene, "one")
        for text in ("two", "one", "two", "one", "two", "one", "two"):
            await save(scene, text)
        assert scene.record.state is State.TRIPPED
        scene.clock.set_wall(wall(scene) - 24 * HOUR)
        scene.clock.advance(LOOK_EVERY)
        assert await due(scene) in ([], ["check"])
        scene.clock.advance(600)
        assert await due(scene) == APPLIED
        assert (scene.record.state, scene.ctx.findings) == (State.SYNCED, {})

    within(work, tmp_path)


# ---- whatever happens


class World:
    """A service, and people and machines that do anything; ``rng`` decides."""

    COOLDOWN = 20.0

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self.rng = scene, rng
        self.applied_at: list[float] = []
        self.asked_for = False
        self.deaf = 0  # how often telling it fails
        scene.answers |= {
            "check": lambda _: ends("bad" not in scene.file.read_text()),
            "apply": self._apply,
            "probe": lambda _: ends("ill" not in scene.running),
        }

    def _apply(self, _: Command) -> Scripted:
        now = self.scene.clock.monotonic()
        restored = self.scene.file.read_text() == self.good
        if self.applied_at and not self.asked_for and not restored:
            assert now - self.applied_at[-1] >= self.COOLDOWN - 0.001, "a cooldown was cut short"
        self.applied_at.append(now)
        if self.deaf:
            self.deaf -= 1
            return Scripted(FAILS)
        self.scene.running = self.scene.file.read_text()
        assert "bad" not in self.scene.running
        return Scripted()

    @property
    def good(self) -> str:
        """What the last good version has."""
        record, store = self.scene.record, self.scene.action._desk.store
        version = record.version(record.good)
        return store.content(store.load(version.digest)["0/app.conf"]).decode() if version is not None else ""

    async def job(self, trigger: Trigger = Trigger.CHANGE) -> None:
        """A job with all its attempts."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                outcome = await self.scene.action.run(FakeJob(trigger=trigger, attempt=attempt))
            except ActionError as error:
                if not error.retryable:
                    return
                continue
            assert isinstance(outcome, Outcome)
            if outcome.verdict != "failed" or not outcome.retryable:
                return
            self.scene.clock.advance(self.COOLDOWN)  # the runner's back-off

    async def quiet(self) -> None:
        """Until nothing is asked for any more."""
        for _ in range(20):
            await self.scene.ctx.follow_ups["look"]
            if not self.scene.ctx.requested:
                return
            trigger = self.scene.ctx.requested[0][0]
            self.scene.ctx.requested.clear()
            await self.job(trigger)
        raise AssertionError("it never comes to rest")

    def save(self, text: str) -> None:
        self.scene.file.write_text(text)

    async def anything(self) -> None:
        scene, rng = self.scene, self.rng
        deed = rng.choice(
            ["save", "save", "save", "unseen", "touch", "wait", "clock", "deaf", "retry", "restart", "back"]
        )
        text = rng.choice(["one", "two", "three", "bad", "ill"])
        if deed == "save":
            self.save(text)
            await self.job()
        elif deed == "unseen":
            self.save(text)
        elif deed == "touch":
            self.save(scene.file.read_text())
            await self.job()
        elif deed == "wait":
            scene.clock.advance(rng.choice([1.0, 25.0, LOOK_EVERY, 700.0]))
        elif deed == "clock":
            scene.clock.set_wall(wall(scene) + rng.choice([-HOUR, HOUR, -5.0]))
            self.applied_at.clear()  # by a clock that is set ahead it is over
        elif deed == "deaf":
            self.deaf = rng.choice([1, 4])
        elif deed == "retry":
            self.asked_for = True
            await scene.ask("retry")
        elif deed == "restart":
            await self.restart()
        await self.quiet()
        self.asked_for = False

    async def restart(self) -> None:
        self.scene.action = self.scene.open()
        await self.scene.action.recover()


@pytest.mark.parametrize("on_bad", ["hold", "restore"])
def test_whatever_happens_it_ends_well(tmp_path: Path, on_bad: str) -> None:
    """No bad set is told, no cooldown cut short, it comes to rest each time, and a good set is applied in the end."""
    for seed in range(amount(6, 1500)):
        place = tmp_path / f"{seed}"
        place.mkdir()

        async def work(scene: Scene, seed: int = seed) -> None:
            world = World(scene, random.Random(seed))
            scene.running = "one"
            world.save("one")
            await world.job()
            for _ in range(25):
                await world.anything()
            world.deaf = 0
            world.save(f"good {seed}")
            await world.job()
            for _ in range(4):
                scene.clock.advance(LOOK_EVERY)
                await world.quiet()
            told: Any = (seed, scene.record)
            assert scene.running == scene.file.read_text() == f"good {seed}", told
            assert (scene.record.state, scene.record.sure) == (State.SYNCED, True), told
            assert "reload" not in scene.ctx.findings, told

        within(work, place, cooldown=World.COOLDOWN, on_bad=on_bad)


def test_what_had_failed_is_looked_at_again_once_the_service_has_the_set(tmp_path: Path) -> None:
    """Over another life, too, and with any name: else its path would stay failed for ever."""

    async def work(scene: Scene) -> None:
        await save(scene, "one")
        odd = str(scene.root / "caf\udce9")
        scene.fail("apply")
        scene.file.write_text("two")
        change = changed(odd, str(scene.root))
        outcome = await scene.action.run(FakeJob([change], attempt=ATTEMPTS))
        assert isinstance(outcome, Outcome)
        assert outcome.verdict == "failed"
        scene.action = scene.open()
        await scene.action.recover()
        await scene.ctx.follow_ups["look"]
        scene.ctx.requested.clear()
        assert scene.record.failing == [os.fsencode(odd)]
        scene.mend("apply")
        await save(scene, "three")
        assert scene.ctx.requested == [(Trigger.SCHEDULE, (odd,))]
        assert scene.record.failing == []
        scene.ctx.requested.clear()
        await scene.action.run(FakeJob([change], trigger=Trigger.SCHEDULE))
        assert scene.ctx.requested == []

    within(work, tmp_path)
