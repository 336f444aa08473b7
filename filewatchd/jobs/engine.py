"""All rules at work on one generation, and what they share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from filewatchd.actions.base import ActionPackage, Spawn
from filewatchd.actions.base import Services as AskServices
from filewatchd.clock import Clock
from filewatchd.errors import FilewatchdError
from filewatchd.jobs.binding import Binding
from filewatchd.jobs.context import ActionContext
from filewatchd.jobs.expecting import Expecting
from filewatchd.jobs.filelocks import FileLocks
from filewatchd.jobs.flush import Left, left, work_off
from filewatchd.jobs.gate import Gate
from filewatchd.jobs.generations import Generations
from filewatchd.jobs.links import NewLinks
from filewatchd.jobs.notifying import Notifying
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.queue import Slots
from filewatchd.jobs.store import Store
from filewatchd.jobs.timers import DurableTimers
from filewatchd.model import FileIdentity, Hint
from filewatchd.state.comparison import ManifestReader
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse
from filewatchd.work.services import Services
from filewatchd.work.workers import Workers

log = logging.getLogger("filewatchd.jobs")

_MOST_DIRTY = 20_000  # then long scans wait
_MOST_HELD = 100_000  # dirty paths while no job can start; then nothing more is taken in, and the kernel overflows


class RootFacts(NamedTuple):
    """What jobs need to know of a root; supplied by the service, which knows the watcher."""

    lane: str  # of the pool, for its filesystem
    granularity_ns: int
    stands: bool  # what is mounted at it and below is what its subscribers were told
    stalled: bool = False  # its filesystem doesn't answer
    quick: bool = False  # a local filesystem: to look at a file that was just touched never waits
    polled: bool = False  # rules that insist on no backend have it polled
    real: str = ""  # where it really is


class Watching(NamedTuple):
    """How jobs reach watching, which they may not import."""

    facts: Callable[[str], RootFacts]  # by root path
    wake_on_write: Callable[[str, Callable[[], None]], Callable[[], None]]
    room: Callable[[bool], None]  # may long scans go on?
    intake: Callable[[bool], None]  # may events be taken in?
    held: Callable[[str, str, float], None]  # rule, path, seconds
    rescan: Callable[[str], None]  # compare the root at this path with the disk
    mounts: Callable[[], int]  # the number of the mount table that holds now
    looked: Callable[[str, FileIdentity | None], None] = lambda path, identity: None  # at a path that is polled


class Engine:
    """All pipelines, and what they share."""

    def __init__(
        self,
        clock: Clock,
        pool: Pool,
        spawn: Spawn,
        workers: Workers,
        store: Store,
        timers: DurableTimers,
        packages: Mapping[str, ActionPackage],
        watching: Watching,
        *,
        max_running: int,
        state_changed: Callable[[], None] = lambda: None,
        state_damaged: Callable[[], None] = lambda: None,
        doubted: Callable[[], None] = lambda: None,
        services: AskServices | None = None,
    ) -> None:
        """``doubted``: a rule leaves changes aside, or does so no more. ``state_damaged``: only a restart helps."""
        self.clock = clock
        self.pool = pool
        self.spawn = spawn
        self.workers = workers
        self.services: AskServices = services or Services(pool)
        self.timers = timers
        self.store = store
        self.manifest = store.manifest
        self.gate = Gate(store.database, pool, clock, moved=self._gate_moved, damaged=state_damaged)
        self.slots: Slots[Pipeline] = Slots(max_running)
        self.locks = FileLocks(pool)
        self.links = NewLinks(pool, clock, store.reader)
        self.pipelines: dict[str, Pipeline] = {}
        self.touched: set[Pipeline] = set()
        self.effects: dict[ActionContext, Callable[[str, str, str | None], None]] = {}
        self.scans: dict[ActionContext, Callable[[str], None]] = {}
        self.others: dict[ActionContext, Callable[[str, str, bool], None]] = {}
        self.attempting: set[int] = set()  # jobs that run
        self.pulse = Pulse()  # beats when something may have been worked off
        self.generations = Generations(self, packages, timers)
        self.starting = True
        self.state_changed = state_changed
        self.doubted = doubted
        self.expecting = Expecting(
            store.expectations,
            store.findings,
            timers,
            clock,
            worked=lambda rule: self.flush([rule] if rule in self.pipelines else []),
            held=lambda rule: self.pipelines[rule].holding.why is not None,
        )
        self.wake_on_write = watching.wake_on_write
        self.mounts = watching.mounts
        self.looked = watching.looked
        self.notifying = Notifying(self)
        self._watching = watching
        self._dirty = 0  # paths in all windows
        self._room = self._intake = True
        self._draining: dict[asyncio.Task[None], Pipeline] = {}
        self._numbers = 0

    @property
    def rules(self) -> dict[str, Pipeline]:
        """The pipelines of rules; the others' are their notifications."""
        return {name: pipeline for name, pipeline in self.pipelines.items() if pipeline.settings.event is None}

    # ---- bindings

    def bind(self, pipeline: Pipeline, root: str) -> Binding:
        """The rule's binding to a root; made once, so that its dirty paths stay where they are over reloads."""
        for binding in pipeline.bindings.values():
            if binding.root == root:
                return binding
        self._numbers += 1
        binding = Binding(self._numbers, pipeline, root, pipeline.selection, self.manifest)
        pipeline.bindings[binding.number] = binding
        self._reopen(pipeline, binding)
        return binding

    def known_roots(self, pipeline: Pipeline) -> list[str]:
        """The roots of which the rule has rows, or dirty or attempted paths."""
        busy = {key[0] for key in (*pipeline.window, *pipeline.attempted())}
        return [binding.root for number, binding in pipeline.bindings.items() if number in busy or binding.knows()]

    def unbind(self, pipeline: Pipeline, roots: Sequence[str]) -> None:
        """Drop the rule's bindings to any other root; their rows stay for when the root comes back."""
        for number in [n for n, binding in pipeline.bindings.items() if binding.root not in roots]:
            del pipeline.bindings[number]

    def _reopen(self, pipeline: Pipeline, binding: Binding) -> None:
        """Give the binding the open rows that an earlier life, or an earlier configuration, left."""
        now = self.clock.monotonic()
        for row in self.store.take_open(pipeline.settings.name, binding.root):
            key = (binding.number, row.path)
            pipeline.open[key] = row.job
            if row.cancelled:
                pipeline.cancelled[key] = row.job, row.identity
            if not row.waits:
                pipeline.mark(key, Hint.SCAN, now)

    # ---- what pipelines ask

    def lane(self, pipeline: Pipeline) -> str:
        """The pool's lane of the rule's first root."""
        for binding in pipeline.bindings.values():
            return self.facts(binding.root).lane
        return ""

    def granularity(self, pipeline: Pipeline) -> int:
        """The coarsest timestamp granularity below the rule's roots, in nanoseconds."""
        return max((self.facts(b.root).granularity_ns for b in pipeline.bindings.values()), default=0)

    def is_quick(self, pipeline: Pipeline) -> bool:
        """True if looking at a file below the rule's roots never waits."""
        return all(self.facts(binding.root).quick for binding in pipeline.bindings.values())

    def facts(self, root: str) -> RootFacts:
        """What is known of a root."""
        return self._watching.facts(root)

    def rescan(self, root: str) -> None:
        """Compare a root with the disk once more."""
        self._watching.rescan(root)

    def reader(self) -> ManifestReader:
        """A read-only connection for a scan thread."""
        return self.store.reader()

    def give_slot(self) -> None:
        """A slot is free: who waits longest goes first."""
        waiting = self.slots.give()
        if waiting is not None:
            self.touched.add(waiting)

    def effect(self, kind: str, old: str, new: str | None) -> None:
        """Tell every action that asked."""
        for callback in list(self.effects.values()):
            callback(kind, old, new)

    def scanned(self, pipeline: Pipeline, root: str) -> None:
        """Tell the rule's actions that asked that a full scan of a root is over."""
        for opened in pipeline.actions:
            if opened.context in self.scans:
                self.scans[opened.context](root)

    def other(self, pipeline: Pipeline, root: str, path: str, whole: bool) -> None:
        """Tell the rule's actions that asked of a path where no file is."""
        for opened in pipeline.actions:
            if opened.context in self.others:
                self.others[opened.context](root, path, whole)

    def asks(self, pipeline: Pipeline) -> bool:
        """Whether any of the rule's actions asked for that."""
        return bool(self.others) and any(opened.context in self.others for opened in pipeline.actions)

    def asking(self, pipeline: Pipeline) -> list[str]:
        """The names of those."""
        return [opened.name for opened in pipeline.actions if opened.context in self.others]

    def report_held(self, pipeline: Pipeline, path: str, seconds: float) -> None:
        """A file is held open for longer than ready_timeout."""
        self._watching.held(pipeline.settings.name, path, seconds)

    def failed(self, pipeline: Pipeline, error: BaseException | None) -> None:
        """A batch could not be worked at all; its paths stay dirty on disk and are found by the next scan."""
        if isinstance(error, FilewatchdError):
            log.error("rule %s: %s", pipeline.settings.name, error)
        else:
            log.error("rule %s: internal error", pipeline.settings.name, exc_info=error)

    # ---- the loop's turn

    def started(self) -> None:
        """Every root has been compared: what happened while the daemon was down is dirty."""
        self.starting = False
        self.expecting.started()

    async def flush(self, rules: Sequence[str]) -> None:
        """Return once all that is dirty now in these rules has been worked, but for what `left` lists."""
        pipelines = [self.pipelines[name] for name in rules]
        for pipeline in pipelines:
            pipeline.ask_held(self.clock.monotonic())
        await work_off(pipelines, self.clock.monotonic(), self.pulse, self.poke)
        while self.links.busy:  # what they find are names of files that were worked just now
            await self.links.quiet()
            await work_off(pipelines, self.clock.monotonic(), self.pulse, self.poke)

    def left(self, rules: Sequence[str]) -> Left:
        """What a flush of these rules doesn't wait for."""
        return left(self.pipelines[name] for name in rules)

    def pause_over(self, rule: str) -> None:
        """The time of a rule's pause is over. A rule that isn't there just now learns it when it comes back."""
        if rule in self.pipelines:
            self.pipelines[rule].pause_over()
            self.poke()

    def allow(self, max_running: int) -> None:
        """So many jobs may run at once from now on; those that run too many end in their time."""
        self.slots.most = max_running
        self.touched.update(self.pipelines.values())

    def poke(self) -> None:
        """Let every rule to which something happened go on."""
        self.pulse.beat()
        if not self.touched:
            return
        now = self.clock.monotonic()
        touched, self.touched = self.touched, set()
        for pipeline in touched:
            pipeline.batches.advance(now)
            self._dirty += pipeline.grown()
        self.update_room()

    def _gate_moved(self) -> None:
        """Jobs may start again, or not: every rule goes on from there, or says in status that it waits."""
        self.touched.update(self.pipelines.values())
        self.state_changed()
        asyncio.get_running_loop().call_soon(self.poke)  # not from within the write that failed

    def update_room(self) -> None:
        """Long scans wait while too much is dirty. Asked in every turn, so the rules aren't counted anew."""
        intake = self.gate.is_open or self._dirty < _MOST_HELD
        if intake is not self._intake:
            self._intake = intake
            self._watching.intake(intake)
        room = self._dirty < _MOST_DIRTY
        if room is not self._room:
            self._room = room
            self._watching.room(room)

    async def drain(self, grace: float) -> None:
        """Start nothing more; give what runs ``grace`` seconds. Outcomes that can't be written don't wait for it."""
        self.expecting.close()
        self.notifying.close()
        self.gate.end()
        deadline = self.clock.monotonic() + grace
        works: list[Awaitable[None]] = [p.drain(deadline) for p in self.pipelines.values()]
        await asyncio.gather(*works, *self._draining)

    def at_work(self) -> list[Pipeline]:
        """All pipelines, also those that a reload has replaced and that still run jobs."""
        return [*self.pipelines.values(), *self._draining.values()]

    def retire(self, old: Pipeline, grace: float) -> None:
        """A reload replaced a pipeline: it ends with what it runs, within ``grace`` seconds."""
        self._dirty -= old.counted
        for opened in old.actions:
            self.effects.pop(opened.context, None)
            self.scans.pop(opened.context, None)
            self.others.pop(opened.context, None)
        task = asyncio.get_running_loop().create_task(old.drain(self.clock.monotonic() + grace))
        self._draining[task] = old
        task.add_done_callback(lambda done: self._draining.pop(done, None))

    def save_counters(self) -> None:
        """Add what was counted since the last call to the counters on disk."""
        increments: dict[tuple[str, str], int] = {}
        for rule, pipeline in self.pipelines.items():
            for name, value in pipeline.counters.items():
                new = value - pipeline.saved.get(name, 0)
                if new:
                    increments[rule, name] = new
        if increments:
            self.store.counters.add(increments)
        for pipeline in self.pipelines.values():  # once they are written: what fails is added the next time
            pipeline.saved = dict(pipeline.counters)

    def cancel_all(self) -> None:
        """Stop what runs, at once."""
        for pipeline in self.pipelines.values():
            pipeline.batches.cancel_running(at_once=True)

    def summary(self) -> dict[str, Any]:
        """What state.json keeps of jobs."""
        return {name: pipeline.statistics() for name, pipeline in self.pipelines.items()}

    def statistics(self) -> dict[str, Any]:
        """What status shows of jobs: what actions say of themselves, too."""
        return {
            name: {**pipeline.statistics(), "actions": [action.statistics() for action in pipeline.actions]}
            for name, pipeline in self.pipelines.items()
        }
