"""One rule's way from dirty path to outcome. Runs on the loop; looking at the disk happens in the pool.

A due path stays dirty until the rule has a free slot. Then a batch is taken (`batches`) and looked at once: that look
resolves the changes and is the first attempt's identity, journaled before anything runs. So a write during the
job is a new change, and a kill -9 at any moment leaves either a dirty difference or an *open row*: a path
attempted without an outcome, which counts as present and different until some job handles it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from filewatchd.jobs.absences import Absences
from filewatchd.jobs.attempts import Attempts
from filewatchd.jobs.backoff import BackOff
from filewatchd.jobs.batches import AGAIN_AFTER, Batches
from filewatchd.jobs.binding import Binding, below, selection_of
from filewatchd.jobs.holding import Holding
from filewatchd.jobs.looking import Looking
from filewatchd.jobs.runner import Key, OpenAction, Record
from filewatchd.jobs.timings import Timings
from filewatchd.model import BatchBy, FileIdentity, Hint, RuleSettings, Trigger
from filewatchd.rules.debounce import Pending, Window
from filewatchd.state.comparison import ManifestReader

if TYPE_CHECKING:
    from filewatchd.jobs.engine import Engine

_ASKED = Hint.FORCED | Hint.SCHEDULED


class Pipeline:
    """A rule at work."""

    def __init__(self, settings: RuleSettings, engine: Engine) -> None:
        """``engine``: what all rules share."""
        self.settings = settings
        self.engine = engine
        self.clock = engine.clock
        self.window: Window[Key] = Window(settings.settle, settings.max_wait, together=settings.batch is BatchBy.RULE)
        self.selection = selection_of(settings)
        self.bindings: dict[int, Binding] = {}
        self.actions: list[OpenAction] = []
        self.counters: dict[str, int] = {}
        self.saved: dict[str, int] = {}  # the counters as they are on disk
        self.timings = Timings()
        self.open: dict[Key, int] = {}  # open rows: path -> the job that journals it
        # Open rows of jobs that somebody cancelled: the job, and what the path was then.
        self.cancelled: dict[Key, tuple[int, FileIdentity | None]] = {}
        self.skipped: dict[Key, Pending[Key]] = {}
        self.taken: dict[Key, float] = {}  # being looked at, or in a running job: dirty since when
        self.untold: set[Key] = set()  # those of them of which an earlier change has not been told, either
        self.looking = Looking(self)
        self.backoff = BackOff(self)
        self.attempts = Attempts(self)
        self.holding = Holding(self)
        self.absences = Absences()
        self.batches = Batches(self)
        self.counted = 0  # dirty paths when they were last counted
        self.successor: Pipeline | None = None  # a reload replaced this one: what it still finds goes there

    @property
    def heir(self) -> Pipeline:
        """The pipeline that takes what this one finds: itself, or who has replaced it by now."""
        heir = self
        while heir.successor is not None:
            heir = heir.successor
        return heir

    # ---- dirty paths

    def grown(self) -> int:
        """By how much the dirty paths are more, or less, than when this was last asked; a held rule's don't count."""
        before, self.counted = self.counted, 0 if self.holding.why else len(self.window)
        return self.counted - before

    def mark(self, key: Key, hint: int, now: float) -> None:
        """A path is dirty. A newer change supersedes a retry that waits, or joins what `on_busy: skip` left."""
        if self.successor is not None:
            self.heir.mark(key, hint, now)
            return
        if self.holding.why is not None and key not in self.window and not self.holding.has_room():
            return
        if hint & Hint.AWAY and self.absences.was_handled(key, now, self.engine.mounts):
            hint |= Hint.MISSED
        if self.backoff.waiting and hint & Hint.LIVE:
            self.backoff.supersede(key)
        if self.skipped:
            left = self.skipped.pop(key, None)
            if left is not None:
                hint |= left.hint
        self.window.mark(key, hint, now)
        self.engine.touched.add(self)

    def is_live(self, key: Key) -> bool:
        """True if a path is dirty, being looked at, running or open: what a baseline must not touch."""
        return key in self.window or key in self.taken or key in self.open

    def is_stalled(self, number: int) -> bool:
        """True if the filesystem of this binding's root doesn't answer."""
        binding = self.bindings.get(number)
        return binding is not None and self.engine.facts(binding.root).stalled

    def attempted(self) -> Iterator[Key]:
        """Open rows, and the paths being looked at or run: known without being in the manifest, or dirty."""
        yield from list(self.open)
        yield from list(self.taken.keys() - self.open.keys())

    def reader(self) -> ManifestReader:
        """A connection of a scan's own."""
        return self.engine.reader()

    def request(self, trigger: Trigger, paths: Sequence[str]) -> None:
        """Somebody asks for a job over these paths, or for one over no path."""
        now, hint = self.clock.monotonic(), _asking(trigger)
        if not paths:
            self.backoff.due.append(Record(trigger, [], self.clock.wall_ns()))
        for path in paths:
            for key in self.keys_of(path):
                self.mark(key, hint, now)
        self.engine.touched.add(self)
        self.engine.poke()

    def keys_of(self, path: str) -> list[Key]:
        """What a full path is to the rule: one key for each root that covers it; none if its patterns don't."""
        found = [(binding.number, binding.relative(path)) for binding in self.bindings.values()]
        return [(number, relative) for number, relative in found if relative is not None and self._selects(relative)]

    def selects(self, root: str, path: str) -> bool:
        """Whether the rule's patterns select a file below a root."""
        return (relative := below(root, path)) is not None and self._selects(relative)

    def _selects(self, relative: str) -> bool:
        return self.selection.selects_path(relative) and (self.settings.recursive or "/" not in relative)

    def inherit(self, old: Pipeline) -> None:
        """Take over a replaced pipeline's bindings, dirty paths and open rows; what it runs, it finishes itself."""
        now = self.clock.monotonic()
        for number, binding in old.bindings.items():
            self.bindings[number] = Binding(number, self, binding.root, self.selection, self.engine.manifest)
            self.bindings[number].settle(binding.regions)
        kept = old.holding.paused.kept
        for key in [*old.window, *old.skipped, *kept, *(k for k in old.open if k not in old.taken)]:
            if self.selection.selects_path(key[1]):
                entry = old.window.get(key)
                asked = (kept.get(key, 0) | (entry.hint if entry is not None else 0)) & _ASKED
                self.window.mark_after(key, Hint.SCAN | asked, now, self.settings.settle)
        self.backoff.due = old.backoff.take_alone()
        self.cancelled = old.cancelled
        self.open, self.taken, self.untold = old.open, old.taken, old.untold  # what still runs there ends in them
        old.successor = self
        self.engine.touched.add(self)

    # ---- what the others ask

    def release(self, keys: Iterable[Key]) -> None:
        """These paths are no longer looked at or run."""
        for key in keys:
            self.taken.pop(key, None)
            self.untold.discard(key)

    def named(self, keys: Iterable[Key]) -> list[str]:
        """Full paths."""
        return [self.bindings[key[0]].path(key[1]) for key in keys if key[0] in self.bindings]

    def look_again(self, key: Key, now: float) -> None:
        """The row of a path is racy."""
        self.mark_after(key, Hint.AGAIN, now, AGAIN_AFTER)

    def ask_held(self, now: float) -> None:
        """Ask once more whether files that were held open still are: a backend may not tell of a close."""
        for key in list(self.looking.written):
            if self.window.hasten(key, now):
                self.looking.written[key] = -math.inf
                self.engine.touched.add(self)

    def mark_after(self, key: Key, hint: int, now: float, delay: float, since: float | None = None) -> None:
        heir = self.heir
        heir.window.mark_after(key, hint, now, delay, since)
        self.engine.touched.add(heir)

    # ---- life

    def resume(self) -> None:
        """Go on after a hold.

        Raises:
            StateError: the hold can't be taken from the journal.
        """
        self._go_on(self.holding.release)

    def pause_over(self) -> None:
        """The time of its pause is over."""
        self._go_on(self.holding.pause_over)

    def _go_on(self, release: Callable[[], None]) -> None:
        """What is dirty by now doesn't count towards the limit: a person said go on, or when to."""
        release()
        if self.holding.why is not None:
            return
        without_room, self.holding.without_room = self.holding.without_room, 0
        self.looking.breaker.reset()
        self.looking.limit.reset(len(self.window) + without_room)
        self.engine.touched.add(self)
        if without_room:
            self.engine.doubted()
            for binding in self.bindings.values():
                self.engine.rescan(binding.root)

    async def drain(self, deadline: float) -> None:
        """Start nothing more, and wait for what runs; past the deadline it is cancelled and stays journaled."""
        self.engine.slots.leave(self)
        await self.batches.drain(deadline)
        for opened in self.actions:
            await opened.action.stop(max(0.0, deadline - self.clock.monotonic()))
            await opened.context.stop(max(0.0, deadline - self.clock.monotonic()))

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + by

    @property
    def last(self) -> dict[str, Any] | None:
        """How the rule's last job ended, in this life or before."""
        return self.engine.store.last.get(self.settings.name)

    def remember(self, record: Record, counted: dict[str, int], seconds: float) -> None:
        """Keep the last outcome for status."""
        last = {"job": record.id, "time_ns": self.clock.wall_ns(), "seconds": seconds, "outcomes": counted}
        self.engine.store.last[self.settings.name] = last
        self.engine.state_changed()

    def failed(self) -> list[Key]:
        """Paths that have failed for good, and wait for somebody to ask for a retry, or for a change."""
        busy = self.backoff.waiting, self.window, self.taken
        return [key for key in self.open if not any(key in each for each in busy)]

    def superseded(self) -> list[Key]:
        """Paths whose job has failed or was cut off, and that are dirty or taken again by a newer change."""
        dirty = (key for key in self.open if key in self.window and key not in self.taken)
        return [*dirty, *self.untold]

    def statistics(self) -> dict[str, Any]:
        """What status shows of the rule."""
        return {
            "dirty": len(self.window),
            "running": len(self.batches),
            "retrying": len(self.backoff.waiting),
            "open": len(self.open),
            "failed": len(self.failed()),
            "held": len(self.looking.held),
            "skipped": len(self.skipped),
            "paused": self.holding.why,
            "discarded": self.holding.without_room + self.holding.paused.discarded,
            "waits": None if self.engine.gate.is_open else "state can't be written",
            "counters": dict(self.counters),
            "last": self.last,
        }


def _asking(trigger: Trigger) -> int:
    """The hint of a path for which somebody asks."""
    return Hint.FORCED | Hint.SCHEDULED if trigger is Trigger.SCHEDULE else Hint.FORCED
