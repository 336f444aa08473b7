"""How a reload replaces rules: whole or not at all.

The pipelines of unchanged rules stay, with their windows, jobs and retries. A changed rule gets a new pipeline that
inherits the old one's dirty paths; its running jobs, and those of removed rules, drain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from filewatchd.actions.base import ActionPackage
from filewatchd.errors import FilewatchdError
from filewatchd.jobs.notifying import settings_of
from filewatchd.jobs.opening import Opening
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.model import RuleSettings

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.timers import DurableTimers


class Generations:
    """The engine's pipelines over reloads. ``number``: of the generation in force, 0 before the first."""

    def __init__(self, engine: Engine, packages: Mapping[str, ActionPackage], timers: DurableTimers) -> None:
        self._engine = engine
        self._packages = packages
        self._timers = timers
        self._digests: Mapping[str, str] = {}
        self.number = 0

    def digest(self, rule: str) -> str:
        """What a rule was configured by; "" for one that is none."""
        return self._digests.get(rule, "")

    def before(self, rule: str) -> Iterator[str]:
        """The rules that stand before this one in the configuration."""
        return takewhile(lambda name: name != rule, self._digests)

    async def configure(
        self, number: int, rules: Sequence[RuleSettings], digests: Mapping[str, str], grace: float
    ) -> None:
        """Make exactly these rules run. What is replaced has ``grace`` seconds to finish what it runs.

        Raises:
            FilewatchdError: an action can't be opened; then nothing has changed.
        """
        engine = self._engine
        digests = dict(digests)
        wanted = {rule.name: rule for rule in rules if rule.enabled}
        for rule in list(wanted.values()):
            for settings in settings_of(rule):
                wanted[settings.name], digests[settings.name] = settings, digests[rule.name]
        fresh = {
            name: Pipeline(rule, engine)
            for name, rule in wanted.items()
            if name not in engine.pipelines or self._digests.get(name) != digests.get(name)
        }
        engine.save_counters()
        renamed = {p.settings.renamed_from: p for p in fresh.values() if p.settings.renamed_from}
        opening = Opening(engine, self._packages, self._timers)
        await self._open(opening, fresh, renamed)
        opening.commit()
        self._replace(wanted, fresh, fresh | renamed, grace)
        engine.notifying.want(iter(wanted.values()))
        started, self.number, self._digests = self.number == 0, number, dict(digests)
        for name, pipeline in fresh.items():
            pipeline.holding.restore(digests[name], started=started)
        expected = {name: p.settings.expect for name, p in engine.pipelines.items() if p.settings.expect is not None}
        engine.expecting.configure(expected)
        await opening.recover()

    async def _open(self, opening: Opening, fresh: Mapping[str, Pipeline], renamed: Mapping[str, Pipeline]) -> None:
        """Open the actions of the new pipelines; undone if one can't be. ``renamed``: by their former names."""
        pipelines = self._engine.pipelines
        try:
            for former, pipeline in renamed.items():  # first, so that its actions find their tables
                self._rename(former, pipeline.settings.name)
            for name, pipeline in fresh.items():
                opening.open(pipeline, pipelines.get(name))
        except FilewatchdError:
            await opening.undo()
            for former in renamed.keys() & pipelines.keys():
                self._rename(renamed[former].settings.name, former)
            raise

    def _replace(
        self,
        wanted: Mapping[str, RuleSettings],
        fresh: Mapping[str, Pipeline],
        successors: Mapping[str, Pipeline],
        grace: float,
    ) -> None:
        pipelines = self._engine.pipelines
        for name in [name for name in pipelines if name not in wanted or name in fresh]:
            self._retire(pipelines.pop(name), successors.get(name), grace)
        counters = self._engine.store.counters.all()
        for name, pipeline in fresh.items():
            pipeline.counters = counters.get(name, {})
            pipeline.saved = dict(pipeline.counters)
            pipelines[name] = pipeline

    def _rename(self, old: str, new: str) -> None:
        """Hand what a rule kept to its new name."""
        self._engine.store.rename_rule(old, new)
        self._timers.rename_rule(old, new)

    def _retire(self, old: Pipeline, new: Pipeline | None, grace: float) -> None:
        name = old.settings.name
        if new is not None:
            new.inherit(old)
        if new is None or new.settings.name != name:
            for opened in old.actions:
                self._timers.retire(name, opened.context.action)
            self._engine.store.holds.drop(name)
        self._engine.retire(old, grace)
