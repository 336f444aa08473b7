"""What the rules' roots lead to: the facts that `filewatchd doctor` judges, found without a daemon.

A system call on a network or FUSE filesystem whose other side is gone doesn't come back. So each look is attended to
(`filewatchd.patience`), one at a time, and given up once nothing has moved for a while. Everything else goes on.

What counts as watched is what the daemon would watch: in each root the directories that a rule wants, and on the way
to it the directories whose names lead there; each once for a backend, however many rules want it.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from filewatchd.config.rules import fixed_part
from filewatchd.errors import StalledError
from filewatchd.model import RuleSettings
from filewatchd.patience import attend, begun
from filewatchd.service.trees import Scope, Tree, key_of
from filewatchd.watch.backends.choose import Choice, choose
from filewatchd.watch.locate import Place, expand, is_glob, locate
from filewatchd.watch.mounts import MountTable

PATIENCE = 10.0  # seconds without any progress after which a filesystem counts as one that doesn't answer
BOUND = 2_000_000  # directories looked into at most


class RootFacts(NamedTuple):
    """One path on one backend.

    ``place`` is None where its filesystem doesn't answer; ``absent``: there is nothing yet. ``tree`` is None for what
    isn't a directory, and where trees aren't walked.
    """

    path: str
    rules: tuple[RuleSettings, ...]
    filesystem: str
    choice: Choice
    place: Place | None
    absent: bool = False
    tree: Tree | None = None

    @property
    def empty(self) -> bool:
        """True if it leads nowhere."""
        return self.place is not None and self.place.real is None

    @property
    def stalled(self) -> bool:
        """True if its filesystem doesn't answer."""
        return self.place is None or (self.tree is not None and self.tree.stalled)


class Survey(NamedTuple):
    """``watches``: backend -> directories it would watch, None where trees weren't walked."""

    roots: tuple[RootFacts, ...]
    empty: tuple[tuple[RuleSettings, str], ...]  # globs that name nothing yet
    watches: dict[str, int] | None

    @property
    def trees(self) -> tuple[Tree, ...]:
        """The trees that were walked, each once."""
        return tuple({id(root.tree): root.tree for root in self.roots if root.tree is not None}.values())


class Surveyor:
    """Finds roots and walks their trees."""

    def __init__(
        self,
        rules: Sequence[RuleSettings],
        table: MountTable,
        *,
        quick: bool = False,
        patience: float = PATIENCE,
        bound: int = BOUND,
        tell: Callable[[int], None] = lambda directories: None,
    ) -> None:
        """``quick``: trees aren't walked. ``tell``: called while walking, with the directories counted so far."""
        self._rules = rules
        self._table = table
        self._quick = quick
        self._patience = patience
        self._bound = bound
        self._tell = tell
        self._counted = 0
        self._ways: dict[str, set[int]] = {}  # backend -> directories on the way
        self._trees: dict[tuple[str, str], Tree] = {}  # by backend and top

    def survey(self) -> Survey:
        """Look at everything once."""
        empty: list[tuple[RuleSettings, str]] = []
        named: dict[tuple[str, str], list[RuleSettings]] = {}
        for rule in self._rules:
            for root in rule.roots:
                members = self._members(rule, root)
                if not members:
                    empty.append((rule, root))
                for path in members:
                    named.setdefault((path, rule.backend), []).append(rule)
        roots = tuple(self._root(path, backend, rules) for (path, backend), rules in named.items())
        for tree in self._trees.values():
            self._walk(tree)
        return Survey(roots, tuple(empty), None if self._quick else self._watches())

    def _members(self, rule: RuleSettings, root: str) -> list[str]:
        """The paths that a root names; a glob may name none, or lie where nothing answers."""
        if not is_glob(root):
            return [root]
        seen: set[int] = set()
        try:
            members = attend(lambda: expand(root, _arming(seen)), self._patience).paths
        except StalledError:
            return [fixed_part(root)]  # looked at next, and reported by its own name
        choice = choose(rule.backend, self._table.type_of(fixed_part(root)))
        self._ways.setdefault(choice.name, set()).update(seen)
        return members

    def _root(self, path: str, backend: str, rules: list[RuleSettings]) -> RootFacts:
        seen: set[int] = set()
        try:
            place, absent = attend(lambda: _find(path, seen), self._patience)
        except StalledError:
            filesystem = self._table.type_of(path)
            return RootFacts(path, tuple(rules), filesystem, choose(backend, filesystem), None)
        filesystem = self._table.type_of(place.real or path, place.device)
        choice = choose(backend, filesystem)
        self._ways.setdefault(choice.name, set()).update(seen)
        tree = self._tree(choice.name, place.real, rules) if place.real is not None and place.is_directory else None
        return RootFacts(path, tuple(rules), filesystem, choice, place, absent, tree)

    def _tree(self, backend: str, top: str, rules: list[RuleSettings]) -> Tree | None:
        if self._quick:
            return None
        tree = self._trees.setdefault((backend, top), Tree(top))
        known = {scope.rule.name for scope in tree.scopes}
        tree.scopes += [Scope(rule) for rule in rules if rule.name not in known]
        return tree

    def _walk(self, tree: Tree) -> None:
        bound = self._bound - self._counted
        try:
            attend(
                lambda: tree.walk(bound),
                self._patience,
                lambda: (tree.directories, tree.entries),
                lambda: self._tell(self._counted + tree.directories),
            )
        except StalledError:
            tree.stalled = tree.stopped = True
        self._counted += tree.directories

    def _watches(self) -> dict[str, int]:
        """What each backend would watch; polling watches nothing."""
        watched = {name: set(seen) for name, seen in self._ways.items() if name != "poll"}
        for (name, _), tree in self._trees.items():
            if name in watched:
                watched[name] |= tree.watched
        return {name: len(seen) for name, seen in watched.items()}


def _arming(seen: set[int]) -> Callable[[int], int]:
    """Stands for a backend: remembers what it is asked to watch."""

    def arm(fd: int) -> int:
        seen.add(key_of(fd))
        return 0

    return arm


def _find(path: str, seen: set[int]) -> tuple[Place, bool]:
    """Where a path leads, and whether it is only that nothing is there."""
    place = locate(path, _arming(seen))
    if place.real is not None or not place.hops:
        return place, False
    last = place.hops[-1]
    try:
        os.lstat(os.path.join(last.directory, last.name))
    except FileNotFoundError:
        return place, True
    except OSError:
        pass
    return place, False


def unanswering(table: MountTable, patience: float = PATIENCE) -> Iterator[str]:
    """The mount points that don't answer. All are asked at once."""
    futures = {place: begun(partial(os.stat, place)) for place in table.places()}
    concurrent.futures.wait(futures.values(), patience)
    return (place for place, future in futures.items() if not future.done())
