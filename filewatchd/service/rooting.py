"""Between rules and watching: which roots the rules name right now, and what jobs need to know of them."""

from __future__ import annotations

import asyncio
import fnmatch
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from filewatchd.clock import Clock
from filewatchd.jobs.engine import Engine, RootFacts
from filewatchd.model import FileIdentity, RootState, RuleSettings
from filewatchd.watch.backends.base import Keeper
from filewatchd.watch.backends.choose import Choice, choose, make
from filewatchd.watch.filesystems import Ground
from filewatchd.watch.locate import is_glob
from filewatchd.watch.mounts import MountView
from filewatchd.watch.placing import Glob
from filewatchd.watch.roots import Root, RootKey, Subscriber
from filewatchd.watch.wake import WriteWakes
from filewatchd.watch.watcher import Watcher
from filewatchd.work.files import writers_of
from filewatchd.work.granularity import probe_granularity
from filewatchd.work.pool import Pool

log = logging.getLogger("filewatchd.watch")

_NOWHERE = RootFacts("look", 0, False)


class Rooting:
    """The watchers, one for each backend in use, with the rules' roots."""

    engine: Engine

    def __init__(
        self, pool: Pool, clock: Clock, poke: Callable[[], None], changed: Callable[[], None], keeper: Keeper
    ) -> None:
        """``poke``: marks were made. ``changed``: a root's state moved. ``keeper``: of descriptors, over restarts."""
        self._pool = pool
        self._clock = clock
        self._poke = poke
        self._changed = changed
        self._keeper = keeper
        self._rules: Sequence[RuleSettings] = ()
        self._own: Mapping[RootKey, Subscriber] = {}  # no rule's
        # Root -> what it stands on, the granularity of timestamps there, and whether looks never wait.
        self._probed: dict[str, tuple[Ground, int, bool]] = {}
        self._watchers: dict[str, Watcher] = {}
        self._by_path: dict[str, Root] = {}
        self._choices: dict[tuple[str, str], Choice] = {}  # (root, as configured)
        self._choosing = False
        self._free = self._intake = True
        self._mounts = MountView(self._mounts_changed)
        self.wakes = WriteWakes()
        pool.hangs = self._lane_hangs

    def start(self) -> None:
        """Begin watching."""
        self._mounts.follow()

    def stop(self) -> None:
        """End intake."""
        self.wakes.close()
        self._mounts.close()
        for watcher in self._watchers.values():
            watcher.stop()

    def prepare(self, rules: Sequence[RuleSettings]) -> None:
        """Make the backends that these rules ask for by name.

        Raises:
            FatalError: one can't be used.
        """
        for rule in rules:
            if rule.enabled and rule.backend != "auto":
                self._watcher(rule.backend)

    def apply(self, rules: Sequence[RuleSettings], own: Mapping[RootKey, Subscriber]) -> None:
        """Watch what these rules name, and the daemon's ``own`` files.

        Raises:
            FatalError: a backend can't be used.
        """
        self._rules, self._own = [rule for rule in rules if rule.enabled], own
        globs: dict[str, list[str]] = {}
        for rule in self._rules:
            for root in filter(is_glob, rule.roots):
                globs.setdefault(self._choose(root, rule.backend).name, []).append(root)
        for name in globs.keys() | self._watchers.keys():
            self._watcher(name).set_globs(globs.get(name, ()))
        self._set_roots()

    def _watcher(self, name: str) -> Watcher:
        watcher = self._watchers.get(name)
        if watcher is None:
            backend = make(name, self._pool, self._clock, self._keeper)
            watcher = self._watchers[name] = Watcher(
                backend,
                self._pool,
                self._clock,
                changed=self._root_changed,
                members=self._members_changed,
                poke=self._poke,
                mounts=self._mounts,
            )
            watcher.start()
            self.room(self._free)
            watcher.take_in(self._intake)
        return watcher

    def give_up_retained(self) -> None:
        """Every root has been looked at: what an earlier life watched besides is no rule's any more."""
        for watcher in self._watchers.values():
            watcher.give_up_retained()

    @property
    def gone_names(self) -> int:
        """Files that came while no daemon ran, in directories that were gone before anybody could learn their names."""
        return sum(watcher.gone_names for watcher in self._watchers.values())

    def _set_roots(self) -> None:
        wanted: dict[str, dict[RootKey, list[Subscriber]]] = {}
        for key, subscriber in self._own.items():
            choice = self._choices[key.path, "auto"] = self._choose(key.path, "auto")
            wanted.setdefault(choice.name, {})[key] = [subscriber]
        for rule in self._rules:
            pipeline = self.engine.pipelines[rule.name]
            paths = self._paths(rule)
            self.engine.unbind(pipeline, paths)
            for path in paths:
                choice = self._choices[path, rule.backend] = self._choose(path, rule.backend)
                key = RootKey(path, rule.recursive, rule.follow_symlinks)
                subscribers = wanted.setdefault(choice.name, {}).setdefault(key, [])
                subscribers.append(self.engine.bind(pipeline, path))
        for name in wanted.keys() | self._watchers.keys():
            self._watcher(name).set_roots(wanted.get(name, {}))
        self._by_path = {root.path: root for root in self.roots()}

    def roots(self) -> list[Root]:
        """All that is watched."""
        return [root for watcher in self._watchers.values() for root in watcher.roots.values()]

    def _choose(self, path: str, wanted: str) -> Choice:
        root = self._by_path.get(path)
        device = root.place.device if root is not None and root.place is not None else None
        return choose(wanted, self._mounts.table.type_of(path, device))

    def _root_changed(self) -> None:
        """A root moved: perhaps to a filesystem that asks for another backend."""
        if not self._choosing and any(self._choose(*key).name != old.name for key, old in self._choices.items()):
            self._choosing = True
            asyncio.get_running_loop().call_soon(self._choose_again)
        self._changed()

    def _choose_again(self) -> None:
        self._choosing = False
        for (path, wanted), old in self._choices.items():
            new = self._choose(path, wanted)
            if new.name != old.name:
                log.info("root %s is watched by %s now: %s", path, new.name, new.reason)
        self._choices.clear()
        self._set_roots()

    def _paths(self, rule: RuleSettings) -> list[str]:
        """The rule's roots, with globs expanded. A member that went stays as long as something is known of it."""
        paths: dict[str, None] = {}
        left = self.engine.known_roots(self.engine.pipelines[rule.name])
        for root in rule.roots:
            if is_glob(root):
                globs = [watcher.globs[root] for watcher in self._watchers.values() if root in watcher.globs]
                paths.update(dict.fromkeys(member for glob in globs for member in glob.members))
                paths.update(dict.fromkeys(p for p in left if fnmatch.fnmatchcase(p, root)))
            else:
                paths[root] = None
        return list(paths)

    def _members_changed(self, glob: Glob) -> None:
        log.info("%s: %d members", glob.pattern, len(glob.members))
        self._set_roots()

    def _mounts_changed(self) -> None:
        for watcher in self._watchers.values():
            watcher.evaluate_all()
        self._root_changed()

    def _lane_hangs(self, lane: str, does: bool) -> None:
        """The pool tells that work on a filesystem doesn't come back, or has."""
        kind, _, what = lane.partition(":")
        for watcher in self._watchers.values():
            if kind == "locate":
                watcher.hangs(lambda root: root.path == what, does)
                watcher.glob_hangs(what, does)
            elif kind in ("look", "scan", "poll"):
                watcher.hangs(lambda root: root.place is not None and str(root.place.device) == what, does)
        self.engine.pulse.beat()

    async def flush(self) -> None:
        """Take in all that happened before the call, mounts too."""
        self._mounts.now()
        await asyncio.sleep(0)  # what this calls back has begun, then
        await asyncio.gather(*(watcher.flush() for watcher in self._watchers.values()))

    def rescan(self, path: str) -> None:
        """Compare a root with the disk once more."""
        for watcher in self._watchers.values():
            watcher.rescan(path)

    def looked(self, path: str, identity: FileIdentity | None) -> None:
        """A job saw this at a path that is polled; None: no file."""
        if (watcher := self._watchers.get("poll")) is not None:
            watcher.looked(path, identity)

    def stalled(self) -> list[str]:
        """Roots whose filesystem doesn't answer."""
        return [root.path for root in self.roots() if root.state is RootState.STALLED]

    def mounts(self) -> int:
        """The number of the mount table that holds now."""
        return self._mounts.now()

    def facts(self, path: str) -> RootFacts:
        """What jobs need to know of a root."""
        root = self._by_path.get(path)
        if root is None or root.place is None:
            return _NOWHERE._replace(stalled=root is not None and root.state is RootState.STALLED)
        probed = self._probed.get(path)
        if probed is None or probed[0] is not root.ground:
            probed = self._probed[path] = self._probe(root, root.place.device)
        _, granularity, quick = probed
        stands = root.stood == self._mounts.generation or self._stands(root)
        choice = self._choices.get((path, "auto"))
        polled = choice is not None and choice.name == "poll"
        stalled = root.state is RootState.STALLED
        return RootFacts(
            f"look:{root.place.device}", granularity, stands, stalled, quick, polled, root.place.real or ""
        )

    def _stands(self, root: Root) -> bool:
        return any(watcher.stands(root) for watcher in self._watchers.values())

    def _probe(self, root: Root, device: int) -> tuple[Ground, int, bool]:
        """The coarsest granularity of all that it stands on, and whether all of that is local."""
        top = root.top or "/"
        below = [(mount.place, mount.kind) for mount in root.ground.mounts[1:]]
        places = [(top, self._mounts.table.type_of(top, device)), *below]
        granularity = max(probe_granularity(place, kind) for place, kind in places)
        return root.ground, granularity, all(choose("auto", kind).name == "inotify" for _, kind in places)

    def room(self, free: bool) -> None:
        """Whether long scans may go on."""
        self._free = free
        for watcher in self._watchers.values():
            (watcher.room.set if free else watcher.room.clear)()

    def intake(self, free: bool) -> None:
        """Whether events may be taken in."""
        self._intake = free
        for watcher in self._watchers.values():
            watcher.take_in(free)

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
        return all(watcher.settled for watcher in self._watchers.values())

    def summary(self) -> str:
        """How many roots are in which state."""
        states = Counter(root.state for root in self.roots())
        return ", ".join(f"{number} {state.value}" for state, number in sorted(states.items())) or "none"

    def described(self) -> str:
        """The rules at work and their roots, for people."""
        rules = len(self.engine.rules)
        return f"{rules:,} rule{'' if rules == 1 else 's'}, roots {self.summary()}"

    def statistics(self) -> dict[str, Any]:
        """What status shows."""
        return {
            "backends": {name: watcher.statistics() for name, watcher in self._watchers.items()},
            "roots": [
                {**root.statistics(), "backend": name, "reason": self._reason(root.path, name)}
                for name, watcher in self._watchers.items()
                for root in watcher.roots.values()
            ],
        }

    def rules_by_root(self) -> dict[str, set[str]]:
        """The rules that watch a root, by its path."""
        found: dict[str, set[str]] = {}
        for name, pipeline in self.engine.pipelines.items():
            for binding in pipeline.bindings.values():
                found.setdefault(binding.root, set()).add(name)
        return found

    def _reason(self, path: str, backend: str) -> str:
        reasons = {
            choice.reason for (root, _), choice in self._choices.items() if (root, choice.name) == (path, backend)
        }
        return ", ".join(sorted(reasons))
