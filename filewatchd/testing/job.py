"""A job to hand to an action's ``run``: it records what the action says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.actions.base import Step
from filewatchd.model import Change, FileIdentity, Kind, Notice, Trigger


class FakeSteps:
    """Durable steps, kept in memory; give the same object to a second action to play a restart."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    async def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Keep a step; a copy, as a database would."""
        self._steps.append(Step(name, copy.deepcopy(dict(data or {}))))

    def recorded(self) -> Sequence[Step]:
        """The steps so far."""
        return tuple(self._steps)

    async def clear(self) -> None:
        """Forget them."""
        self._steps.clear()


class FakeJob:
    """`filewatchd.actions.base.JobContext`. What the action did is in the lists.

    ``outputs`` (bytes pieces), ``progresses``, ``writes`` (path, identity) and ``effects`` (kind, old, new). An
    effect ``moved`` rewrites the path in ``changes``, as in the daemon.
    """

    def __init__(
        self,
        changes: Sequence[Change] = (),
        *,
        id: int = 1,  # noqa: A002 - the protocol's word
        attempt: int = 1,
        rule: str = "rule",
        generation: int = 1,
        trigger: Trigger = Trigger.CHANGE,
        dry_run: bool = False,
        timeout: float = 600.0,
        steps: FakeSteps | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.id = id
        self.attempt = attempt
        self.rule = rule
        self.generation = generation
        self.trigger = trigger
        self.changes = list(changes)
        self.notice = notice
        self.dry_run = dry_run
        self.cancelled = False
        self.timeout = timeout
        self.steps = steps if steps is not None else FakeSteps()
        self.outputs: list[bytes] = []
        self.progresses: list[tuple[int, int, str]] = []
        self.writes: list[tuple[str, FileIdentity | None]] = []
        self.effects: list[tuple[str, str, str | None]] = []

    def progress(self, done: int, total: int, unit: str) -> None:
        """Record it."""
        self.progresses.append((done, total, unit))

    def output(self, data: bytes) -> None:
        """Record it."""
        self.outputs.append(data)

    def wrote(self, path: str, identity: FileIdentity | None = None) -> None:
        """Record it."""
        self.writes.append((path, identity))

    def effect(self, kind: str, old: str, new: str | None = None) -> None:
        """Record it, and let later actions see a moved path."""
        self.effects.append((kind, old, new))
        if kind == "moved" and new is not None:
            self.changes = [
                change._replace(path=new, original_path=change.original_path or old) if change.path == old else change
                for change in self.changes
            ]

    @property
    def text(self) -> str:
        """The output as text."""
        return b"".join(self.outputs).decode("utf-8", "replace")


def changed(path: str, root: str | None = None, kind: Kind = Kind.MODIFIED, **more: Any) -> Change:
    """A change of one path; its root is its directory where none is given."""
    return Change(kind, path, root if root is not None else path.rpartition("/")[0] or "/", **more)
