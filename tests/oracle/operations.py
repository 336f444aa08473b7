"""What is done to a tree and to the daemon: lists that are a pure function of a seed.

Several processes work on the tree at once, each on a list of its own; another list is the daemon's life. All are cut
into phases, so that on a slow machine, too, something is done in each part of that life. How the processes interleave
isn't drawn: a seed that failed once may need some tries to fail again.

Each operation carries all it needs, its content too, so that any of them can be left out and the rest still means
the same: that is how failing lists are shrunk.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.oracle.tree import EXCLUDE, INCLUDE

BACKENDS = ("inotify", "pyinotify", "watchdog", "poll")
WORKERS = 3
PHASES = 10
_STEPS = 12  # a worker's operations in a phase

FILES = [*(f"f{number}" for number in range(8)), "g0", "g1"]  # no rule wants the last two
DIRECTORIES = ["d1", "d2", "d1/x", "d2/y", "d3", "d1/x/y"]
_UNWATCHED = ["skip", "d1/skip", "../away/a1", "../away/a2"]
_MOVED_TO = [*DIRECTORIES, *DIRECTORIES, "d1/z", "d3/z/q", *_UNWATCHED]

Arguments = tuple[str | float, ...]


class Operation(NamedTuple):
    """One step: ``name`` is one of `tree.Tree` or, on the daemon's lists, of `subject.Subject`."""

    name: str
    arguments: Arguments = ()


class Settings(NamedTuple):
    """The rule's keys, as YAML, and how its command behaves: shares of attempts that fail or dawdle."""

    keys: Mapping[str, object]
    failing: float
    dawdling: float


class Plan(NamedTuple):
    """A trial in phases, each a part of every list: the daemon's, and one for each worker.

    Lists are named ``before`` (what is there first) and ``PHASE daemon`` and ``PHASE worker NUMBER``.
    """

    seed: int
    settings: Settings
    lists: Mapping[str, list[Operation]]

    def flat(self) -> list[tuple[str, Operation]]:
        """All operations, each with the name of its list."""
        return [(name, operation) for name, found in self.lists.items() for operation in found]

    def only(self, flat: list[tuple[str, Operation]]) -> Plan:
        """The plan with just these operations."""
        lists: dict[str, list[Operation]] = {name: [] for name in self.lists}
        for name, operation in flat:
            lists[name].append(operation)
        return self._replace(lists=lists)


def plan(seed: int, backend: str = "inotify") -> Plan:
    """The trial of this seed."""
    dice = random.Random(seed)
    settings = _settings(dice, backend)
    weights = dice.choice([_MIXED, _MIXED, MOVES])
    serials = iter(range(1000, 10000))
    lists = {"before": [_on_tree(dice, weights, next(serials)) for _ in range(30)]}
    for phase, life in zip(range(PHASES), _life(dice), strict=False):
        lists[f"{phase} daemon"] = life
        for number in range(WORKERS):
            lists[f"{phase} worker {number}"] = list(work(dice, weights, serials))
    return Plan(seed, settings, lists)


def _settings(dice: random.Random, backend: str) -> Settings:
    on_busy = dice.choice(["queue", "queue", "restart", "parallel"])
    keys: dict[str, object] = {
        "backend": backend,
        "include": [INCLUDE],
        "exclude": [EXCLUDE],
        "changes": ["created", "modified", "deleted", "moved"],
        "settle": dice.choice(["0s", "20ms", "50ms", "200ms"]),
        "max_wait": dice.choice(["200ms", "1s"]),
        "ready": dice.choice(["closed", "closed", "stable", "immediate"]),
        "batch": dice.choice(["path", "path", "rule"]),
        "initial": dice.choice(["ignore", "process"]),
        "on_busy": on_busy,
        "retry": {"attempts": 20, "backoff": "20ms", "max_backoff": "100ms"},
    }
    if on_busy == "parallel":
        keys["concurrency"] = dice.choice([2, 4])
    return Settings(keys, dice.choice([0.0, 0.15]), dice.choice([0.0, 0.1]))


def _life(dice: random.Random) -> Iterator[list[Operation]]:
    """It runs, is stalled, is down; it may die by itself at a step of its own work, or at any moment."""
    yield _perhaps_ready(dice)
    state = "running"
    while True:
        if state == "down":
            state = "running"
            again = [dice.choice([Operation("start"), Operation("start_to_die", (_side(dice), dice.randint(1, 60)))])]
            again += _perhaps_ready(dice)
        elif state == "stalled":
            state = dice.choice(["running", "running", "down"])
            again = [Operation("go_on" if state == "running" else "kill")]
        else:
            name = dice.choice(["kill", "kill", "stall", "stall", "reload", "terminate"])
            state = {"kill": "down", "terminate": "down", "stall": "stalled"}.get(name, state)
            again = [Operation(name)]
        yield [_pause(dice, 0.3), *again]


def _perhaps_ready(dice: random.Random) -> list[Operation]:
    return [Operation("wait_until_ready")] if dice.random() < 0.7 else []


def _side(dice: random.Random) -> str:
    return dice.choice(["before", "after"])


def _pause(dice: random.Random, most: float) -> Operation:
    return Operation("pause", (round(dice.random() ** 2 * most, 4),))


def work(dice: random.Random, weights: Mapping[str, int], serials: Iterator[int]) -> Iterator[Operation]:
    """A worker's part of a phase or round."""
    for _ in range(_STEPS):
        kind = dice.random()
        if kind < 0.88:
            yield _on_tree(dice, weights, next(serials))
        elif kind < 0.999:
            yield _pause(dice, 0.2)
        else:
            yield Operation("flood")


def _path(dice: random.Random) -> str:
    directory = dice.choice(["", "", *DIRECTORIES, *DIRECTORIES, "skip"])
    return os.path.join(directory, dice.choice(FILES))


def _on_tree(dice: random.Random, weights: Mapping[str, int], serial: int) -> Operation:
    """One operation; contents are all of one size, so that many rewrites change nothing else."""
    name = dice.choices(list(weights), list(weights.values()))[0]
    content = f"content {serial}"
    if name in ("create", "append", "write", "hold"):
        return Operation(name, (_path(dice), content))
    if name == "replace":
        path = _path(dice)
        beside = path + ".new" if dice.random() < 0.5 else os.path.join(os.path.dirname(path), ".tmp")
        return Operation(name, (path, beside, content))
    if name == "chmod":
        return Operation(name, (_path(dice), dice.choice([0o644, 0o600])))
    if name in ("unlink", "truncate"):
        return Operation(name, (_path(dice),))
    if name == "rename" and dice.random() < 0.1:
        return Operation(name, dice.choice([(_path(dice), "../away/f0"), ("../away/f0", _path(dice))]))
    if name in ("rename", "link", "exchange"):
        return Operation(name, (_path(dice), _path(dice)))
    if name == "symlink":
        return Operation(name, (dice.choice([*FILES, *DIRECTORIES, "skip"]), dice.choice([_path(dice), *DIRECTORIES])))
    return _on_directories(dice, name, content)


def _on_directories(dice: random.Random, name: str, content: str) -> Operation:
    if name == "let_go":
        return Operation(name)
    if name in ("rmtree", "mkdirs"):
        return Operation(name, (dice.choice([*DIRECTORIES, "skip"]),))
    if name == "grow":
        return Operation(name, (dice.choice(DIRECTORIES), content))
    return Operation(name, (dice.choice([*DIRECTORIES, *_UNWATCHED]), dice.choice(_MOVED_TO)))


_MIXED = {
    "create": 24, "replace": 8, "append": 6, "write": 6, "truncate": 2, "unlink": 10, "rename": 12, "link": 3,
    "symlink": 1, "exchange": 3, "chmod": 2, "rmtree": 3, "mkdirs": 4, "grow": 2, "rename_directory": 8,
    "exchange_directories": 3, "hold": 2, "let_go": 3,
}  # fmt: skip
#: Directories go in, out and across, and their parents with them, while they are written below.
MOVES = {
    "create": 30, "replace": 4, "write": 4, "unlink": 3, "rename": 3, "rmtree": 6, "mkdirs": 3, "grow": 8,
    "rename_directory": 32, "exchange_directories": 10,
}  # fmt: skip
