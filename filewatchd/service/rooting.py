"""Between rules and watching: which roots the rules name right now, and what jobs need to know of them."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from filewatchd.clock import Clock
from filewatchd.jobs.engine import Engine, RootFacts
from filewatchd.model import RootState, RuleSettings
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.locate import is_glob
from filewatchd.watch.mounts import Mounts, filesystem_of
from filewatchd.watch.placing import Glob
from filewatchd.watch.roots import Root, RootKey, Subscriber
from filewatchd.watch.wake import WriteWakes
from filewatchd.watch.watcher import Watcher
from filewatchd.work.files import writers_of
from filewatchd.work.granularity import probe_granularity
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.watch")


class Rooting:
    """The watcher with the rules' roots."""

    engine: Engine

    def __init__(self, pool: Pool, clock: Clock, poke: Callable[[], None], changed: Callable[[], None]) -> None:
        """``poke``: marks were made. ``changed``: a root's state moved."""
        self._pool = pool
        self._rules: Sequence[RuleSettings] = ()
        self._granularity: dict[int, int] = {}
        self._by_path: dict[str, Root] = {}
        self.wakes = WriteWakes()
        self._watcher = Watcher(
            InotifyBackend(), pool, clock, changed=changed, members=self._members_changed, poke=poke
        )

    def start(self) -> None:
        """Begin watching."""
        self._watcher.start()
        self._mounts = Mounts(self._mounts_changed)

    def stop(self) -> None:
        """End intake."""
        self.wakes.close()
        if hasattr(self, "_mounts"):
            self._mounts.close()
            self._watcher.stop()

    def apply(self, rules: Sequence[RuleSettings]) -> None:
        """Watch what these rules name."""
        self._rules = [rule for rule in rules if rule.enabled]
        self._watcher.set_globs(root for rule in self._rules for root in rule.roots)
        self._set_roots()

    def _set_roots(self) -> None:
        wanted: dict[RootKey, list[Subscriber]] = {}
        for rule in self._rules:
            pipeline = self.engine.pipelines[rule.name]
            paths = self._paths(rule)
            self.engine.unbind(pipeline, paths)
            for path in paths:
                key = RootKey(path, rule.recursive, rule.follow_symlinks)
                wanted.setdefault(key, []).append(self.engine.bind(pipeline, path))
        self._watcher.set_roots(wanted)
        self._by_path = {root.path: root for root in self._watcher.roots.values()}

    def _paths(self, rule: RuleSettings) -> list[str]:
        """The rule's roots, with globs expanded. A member that went stays as long as something is known of it."""
        paths: dict[str, None] = {}
        left = self.engine.known_roots(self.engine.pipelines[rule.name])
        for root in rule.roots:
            if is_glob(root):
                glob = self._watcher.globs.get(root)
                paths.update(dict.fromkeys(glob.members if glob is not None else ()))
                paths.update(dict.fromkeys(p for p in left if fnmatch.fnmatchcase(p, root)))
            else:
                paths[root] = None
        return list(paths)

    def _members_changed(self, glob: Glob) -> None:
        log.info("%s: %d members", glob.pattern, len(glob.members))
        self._set_roots()

    def _mounts_changed(self) -> None:
        self._granularity.clear()
        self._watcher.evaluate_all()

    def facts(self, path: str) -> RootFacts:
        """What jobs need to know of a root."""
        root = self._by_path.get(path)
        if root is None or root.place is None:
            return RootFacts("look", 0, False)
        device = root.place.device
        granularity = self._granularity.get(device)
        if granularity is None:
            granularity = self._granularity[device] = self._probe(root)
        return RootFacts(f"look:{device}", granularity, root.unmounted)

    def _probe(self, root: Root) -> int:
        place = root.top or "/"
        return probe_granularity(place, filesystem_of(place))

    def room(self, free: bool) -> None:
        """Whether long scans may go on."""
        (self._watcher.room.set if free else self._watcher.room.clear)()

    def held(self, rule: str, path: str, seconds: float) -> None:
        """Say who keeps a file open for so long."""
        task = asyncio.ensure_future(self._pool.run("", writers_of, path))
        task.add_done_callback(lambda done: self._tell_held(rule, path, seconds, done.result()))

    def _tell_held(self, rule: str, path: str, seconds: float, writers: Sequence[tuple[int, str]]) -> None:
        who = ", ".join(f"{program} (pid {pid})" for pid, program in writers) or "somebody"
        log.warning(
            "%s is held open for writing by %s for %.0f s already",
            path,
            who,
            seconds,
            extra={"rule": rule, "path": path},
        )

    @property
    def settled(self) -> bool:
        """True once every root has been looked at and scanned."""
        return self._watcher.settled

    def summary(self) -> str:
        """How many roots are in which state."""
        states = Counter(root.state for root in self._watcher.roots.values())
        return (
            ", ".join(f"{number} {state.value}" for state, number in sorted(states.items())) or RootState.WAITING.value
        )

    def statistics(self) -> dict[str, Any]:
        """What status shows."""
        return {**self._watcher.statistics(), "roots": [root.statistics() for root in self._watcher.roots.values()]}
