"""What a rule would do: changes resolved and actions asked for their steps, without any effect.

The look is that of `looking`, but nothing is remembered of it: no readiness, no own write is used up, no loop is
counted, nothing goes to the manifest. Files that somebody writes just now are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.actions.base import Step
from filewatchd.jobs.runner import Key, OpenAction
from filewatchd.model import Change, FileIdentity, Look, Trigger
from filewatchd.rules.resolve import Before, Found, resolve

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

MOST = 100  # changes whose steps are told

Mark = tuple[Key, int]  # a path, and what is known of it (`model.Hint`)


class Plan(NamedTuple):
    """A change that a rule would work. ``steps``: of the actions that go path by path, in their order."""

    change: Change
    steps: Sequence[str]


class Plans(NamedTuple):
    """What a rule would do.

    Attributes:
        plans: the first 100 changes, in the order that a job gets them.
        together: what the actions would do that are given all of these at once, or a job over no path.
        more: changes beyond those.
    """

    plans: Sequence[Plan]
    together: Sequence[str]
    more: int


async def plan(pipeline: Pipeline, marks: Sequence[Mark], trigger: Trigger) -> Plans:
    """What the rule would do if exactly these paths were due now.

    Raises:
        StalledError: a filesystem doesn't answer.
    """
    changes = await changes_now(pipeline, marks)
    if not changes:
        return Plans((), (), 0)
    told = steps(pipeline, changes[:MOST], trigger)
    return told._replace(more=len(changes) - len(told.plans))


async def changes_now(pipeline: Pipeline, marks: Sequence[Mark]) -> list[Change]:
    """What has happened to these paths that the rule wants, as they are now.

    Raises:
        StalledError: a filesystem doesn't answer.
    """
    known = [(key, hint) for key, hint in marks if key[0] in pipeline.bindings]
    mounts = pipeline.engine.mounts()
    looks = await pipeline.looking.eyes.look_at([key for key, _ in known], None)
    stands = pipeline.looking.ground(mounts)
    before = pipeline.looking.before([key for key, _ in known])
    found = [
        _found(pipeline, mark, before[mark[0]], look)
        for mark, look in zip(known, looks, strict=True)
        if mark[0][0] in pipeline.bindings and not look.error and stands(mark[0][0], look)
    ]
    return [told.change for told in pipeline.looking.wanted(found)]


def _found(pipeline: Pipeline, mark: Mark, before: Before, look: Look) -> Found:
    key, hint = mark
    binding = pipeline.bindings[key[0]]
    path = binding.path(key[1])
    resolved = resolve(before, look, hint)
    if pipeline.looking.is_own(path, look) or pipeline.looking.is_cancelled(key, hint, look):
        resolved = resolved._replace(kind=None)
    return Found(key, path, binding.root, before, look, resolved, hint)


def steps(pipeline: Pipeline, changes: Sequence[Change], trigger: Trigger) -> Plans:
    """What the rule's actions would do in a job over these changes; over no path, if there are none."""
    alone = [opened for opened in pipeline.actions if opened.needs.per_path and changes]
    plans = [Plan(change, _steps(pipeline, alone, [change], trigger)) for change in changes]
    others = [opened for opened in pipeline.actions if opened not in alone]
    return Plans(plans, _steps(pipeline, others, changes, trigger), 0)


def _steps(pipeline: Pipeline, actions: Sequence[OpenAction], changes: Sequence[Change], trigger: Trigger) -> list[str]:
    job = DryRun(pipeline.settings.name, pipeline.engine.generations.number, trigger, changes)
    job.timeout = pipeline.settings.timeout
    return [step for opened in actions for step in _plan(opened, job)]


def _plan(opened: OpenAction, job: DryRun) -> Sequence[str]:
    try:
        return opened.action.plan(job)
    except Exception as error:  # noqa: BLE001 - an action's bug is told where its steps would be
        return [f"{opened.name} can't say: {error}"]


class DryRun:
    """A job that is only planned, as `actions.base.JobContext`: what an action does with it goes nowhere."""

    notice = None

    id = 0
    attempt = 1
    dry_run = True
    cancelled = False
    timeout = 0.0

    def __init__(self, rule: str, generation: int, trigger: Trigger, changes: Sequence[Change]) -> None:
        self.rule = rule
        self.generation = generation
        self.trigger = trigger
        self.changes = changes
        self.steps = NoSteps()

    def progress(self, done: int, total: int, unit: str) -> None:
        """Nobody waits for it."""

    def output(self, data: bytes) -> None:
        """Nothing is kept."""

    def wrote(self, path: str, identity: FileIdentity | None = None) -> None:
        """It wrote nothing."""

    def effect(self, kind: str, old: str, new: str | None = None) -> None:
        """Nothing was done."""


class NoSteps:
    """`actions.base.Steps` of a job that is only planned."""

    async def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Nothing is kept."""

    def recorded(self) -> Sequence[Step]:
        """None."""
        return ()

    async def clear(self) -> None:
        """There is nothing."""
