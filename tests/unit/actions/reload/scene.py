"""A rule's reload in a test: commands are scripted, files are real, time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from filewatchd.actions import reload
from filewatchd.actions.base import Caller, Command, Finished
from filewatchd.actions.reload.action import ReloadAction
from filewatchd.actions.reload.checking import Way
from filewatchd.actions.reload.record import Record, Version
from filewatchd.model import Outcome, RuleSettings
from filewatchd.testing import FakeClock, FakeContext, FakeJob, FakeSpawn
from filewatchd.testing.spawn import Scripted

FAILS = Finished(1, None, False, 0)
ROOT = Caller(0, 1, acts=True)
GUARD: dict[str, Any] = {
    "mode": "guard",
    "check": {"command": ["check"]},
    "apply": {"command": ["apply"]},
    "healthy": {"command": ["probe"], "within": 0},
}


def ends(well: bool) -> Scripted:
    """How a command ends."""
    return Scripted() if well else Scripted(FAILS)


class Scene:
    """A rule's reload, and the world around it: what each command does is in ``answers``."""

    def __init__(self, directory: Path, **options: Any) -> None:
        rule: dict[str, Any] = {
            name: options.pop(name) for name in ("initial", "user", "renamed_from", "name") if name in options
        }
        self.root = directory / "etc"
        self.root.mkdir(exist_ok=True)
        self.file = self.root / "app.conf"
        self.answers: dict[str, Callable[[Command], Scripted]] = {}
        self.asked: list[str] = []
        self.running = ""  # what the service has, where a test says so
        self.spawn = FakeSpawn(answer=self._answer)
        self.clock = FakeClock()
        name = rule.pop("name", "app")
        settings = RuleSettings(name=name, roots=(str(self.root),), actions=(), **rule)
        self.ctx = FakeContext(settings, clock=self.clock, spawn=self.spawn, state_dir=str(directory / "state"))
        (directory / "state").mkdir(exist_ok=True)
        self.options = msgspec.convert({**GUARD, "cooldown": 0, **options}, reload.Options)
        self.action = self.open()

    def open(self) -> ReloadAction:
        action = reload.open(self.options, self.ctx)
        action._desk.checker._ways = [Way.NAMESPACE, Way.STAGED]
        return action

    def _answer(self, command: Command) -> Scripted:
        self.asked.append(command.argv[0])
        answer = self.answers.get(command.argv[0])
        return answer(command) if answer is not None else Scripted()

    def fail(self, name: str, output: str = "") -> None:
        self.answers[name] = lambda _: Scripted(FAILS, output.encode())

    def mend(self, name: str) -> None:
        self.answers.pop(name)

    async def ask(self, endpoint: str, arguments: Any = None, caller: Caller = ROOT) -> Any:
        """What can be asked over the control socket."""
        return await self.action.answer_to(endpoint, arguments, caller)

    @property
    def record(self) -> Record:
        return self.action._desk.record

    def version(self, number: int) -> Version:
        found = self.record.version(number)
        assert found is not None
        return found


def within(work: Callable[[Scene], Coroutine[Any, Any, None]], directory: Path, **options: Any) -> Scene:
    """Play it, with the action recovered."""
    scene = Scene(directory, **options)

    async def play() -> None:
        await scene.action.recover()
        await scene.ctx.follow_ups["look"]
        await work(scene)

    asyncio.run(play())
    return scene


async def save(scene: Scene, text: str | None, **job: Any) -> Outcome:
    """Write the file and let a job run; returns its outcome. ``asked`` has the commands of this job alone."""
    if text is not None:
        scene.file.write_text(text)
    scene.asked.clear()
    outcome = await scene.action.run(FakeJob(**job))
    assert isinstance(outcome, Outcome)
    return outcome
