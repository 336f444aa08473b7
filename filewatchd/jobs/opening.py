"""A rule's actions over a reload: opened, handed on to the rule's new pipeline, or all put back as they were.

An action that stands where one of its name stood takes the new options in place if it can; its tables, timers and
running jobs go on. Otherwise it is opened anew, beside the old one, which ends with the jobs it still runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from filewatchd.actions.base import ActionPackage
from filewatchd.errors import FilewatchdError
from filewatchd.jobs.context import ActionContext
from filewatchd.jobs.runner import OpenAction
from filewatchd.model import ActionSpec
from filewatchd.rules.holding import Brake
from filewatchd.state.tables import ActionTables

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.pipeline import Pipeline
    from filewatchd.jobs.timers import DurableTimers

log = logging.getLogger("filewatchd.jobs")


class _Kept(NamedTuple):
    """An action that was handed on: from which pipeline, and what it was configured by there."""

    opened: OpenAction
    old: Pipeline
    spec: ActionSpec


class Opening:
    """The actions of one reload. Call `open` for each new pipeline, then `commit` or `undo`."""

    def __init__(self, engine: Engine, packages: Mapping[str, ActionPackage], timers: DurableTimers) -> None:
        self._engine = engine
        self._packages = packages
        self._timers = timers
        self._kept: list[_Kept] = []
        self._fresh: list[tuple[Pipeline, OpenAction]] = []

    def open(self, pipeline: Pipeline, old: Pipeline | None) -> None:
        """Give a new pipeline its actions. ``old``: the one it replaces.

        Raises:
            FilewatchdError: an action can't be opened.
        """
        for index, spec in enumerate(pipeline.settings.actions):
            kept = self._keep(pipeline, old, index, spec) if old is not None else None
            pipeline.actions.append(kept or self._open(pipeline, index, spec))

    def commit(self) -> None:
        """The new pipelines are in force: what was handed on isn't the old ones' any more."""
        for kept in self._kept:
            kept.old.actions = [opened for opened in kept.old.actions if opened.action is not kept.opened.action]

    async def undo(self) -> None:
        """The reload failed: all is as it was."""
        for kept in self._kept:
            kept.opened.context.move(kept.old)
            try:
                taken = _reconfigure(kept.opened, kept.spec.options)
            except FilewatchdError as error:
                log.error("%s", error)
                taken = False
            if not taken:
                kept.old.holding.brake(Brake.BROKE, f"{kept.opened.name} would not take its former options back")
        for pipeline, opened in self._fresh:
            self._engine.effects.pop(opened.context, None)
            self._engine.scans.pop(opened.context, None)
            self._engine.others.pop(opened.context, None)
            pipeline.actions = []
            await opened.action.stop(0.0)
            await opened.context.stop(0.0)

    async def recover(self) -> None:
        """Finish or undo what a crash cut off, before the roots of the rules go live."""
        for pipeline, opened in self._fresh:
            await recover(pipeline, opened)

    def _keep(self, pipeline: Pipeline, old: Pipeline, index: int, spec: ActionSpec) -> OpenAction | None:
        before = old.settings.actions[index : index + 1]
        if not before or before[0].name != spec.name:
            return None
        opened = old.actions[index]
        opened.context.move(pipeline)
        self._kept.append(_Kept(opened, old, before[0]))
        if _reconfigure(opened, spec.options):
            return opened._replace(needs=self._packages[spec.name].needs(spec.options))
        self._kept.pop()
        opened.context.move(old)
        return None

    def _open(self, pipeline: Pipeline, index: int, spec: ActionSpec) -> OpenAction:
        package = self._packages[spec.name]
        owner, rule = f"{index}.{spec.name}", pipeline.settings.name
        tables = ActionTables(self._engine.store.database, rule, owner)
        context = ActionContext(self._engine, pipeline, owner, tables, self._timers.of(rule, owner))
        try:
            action, needs = package.open(spec.options, context), package.needs(spec.options)
        except FilewatchdError:
            raise
        except Exception as error:
            raise FilewatchdError(f"rule {rule}: action {spec.name} can't be opened: {error!r}") from error
        opened = OpenAction(spec.name, action, needs, context)
        self._fresh.append((pipeline, opened))
        return opened


async def recover(pipeline: Pipeline, opened: OpenAction) -> bool:
    """Let an action finish or undo what was cut off; where it can't, its rule is held."""
    try:
        await opened.action.recover()
    except Exception as error:  # noqa: BLE001 - an action's bug holds its rule, not the daemon
        pipeline.holding.brake(Brake.BROKE, f"{opened.name} could not recover what was cut off: {error}")
        return False
    return True


def _reconfigure(opened: OpenAction, options: Any) -> bool:
    try:
        return opened.action.reconfigure(options)
    except FilewatchdError:
        raise
    except Exception as error:
        rule = opened.context.rule.name
        raise FilewatchdError(f"rule {rule}: action {opened.name} can't take its options: {error!r}") from error
