"""What is done to a tree and to the daemon: a list that is a pure function of a seed.

Each operation carries all it needs, its content too, so that any of them can be left out and the rest still means
the same: that is how a failing list is shrunk. An operation that can't be done (its file isn't there) does nothing.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FILES = [f"f{number}" for number in range(8)]
DIRECTORIES = ["d1", "d2", "d1/x", "d2/y", "d3"]
FLOOD = 6000  # files made and removed in one go: more events than the kernel queues for a daemon that is stalled


class Operation(NamedTuple):
    """One step: ``name`` is a function below, or something done to the daemon."""

    name: str
    arguments: tuple[str | float, ...] = ()


class Settings(NamedTuple):
    """The rule's keys, as YAML, and how its command behaves: shares of attempts that fail or dawdle."""

    keys: dict[str, object]
    failing: float
    dawdling: float


class Plan(NamedTuple):
    """A trial: what is there first, the rule, and what is done then."""

    seed: int
    settings: Settings
    before: list[Operation]
    operations: list[Operation]


def plan(seed: int, steps: int = 250) -> Plan:
    """The trial of this seed."""
    dice = random.Random(seed)
    settings = _settings(dice)
    before = [_on_files(dice, serial) for serial in range(30)]
    return Plan(seed, settings, before, list(_operations(dice, steps)))


def _settings(dice: random.Random) -> Settings:
    on_busy = dice.choice(["queue", "queue", "restart", "parallel"])
    keys: dict[str, object] = {
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


def _operations(dice: random.Random, steps: int) -> Iterator[Operation]:
    for serial in range(1000, 1000 + steps):
        kind = dice.random()
        if kind < 0.82:
            yield _on_files(dice, serial)
        elif kind < 0.92:
            yield Operation("pause", (round(dice.random() ** 3 * 0.3, 4),))
        elif kind < 0.935:
            yield Operation("kill")
        elif kind < 0.97:
            yield Operation("start")
        elif kind < 0.98:
            yield Operation("stall")
        elif kind < 0.997:
            yield Operation("go_on")
        else:
            yield Operation(dice.choice(["flood", "reload"]))


def _path(dice: random.Random) -> str:
    directory = dice.choice(["", "", *DIRECTORIES])
    return os.path.join(directory, dice.choice(FILES))


def _on_files(dice: random.Random, serial: int) -> Operation:
    name = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    content = f"content {serial}"
    if name in ("create", "replace", "append", "write", "hold"):
        return Operation(name, (_path(dice), content))
    if name in ("unlink", "truncate"):
        return Operation(name, (_path(dice),))
    if name in ("rename", "link", "exchange"):
        return Operation(name, (_path(dice), _path(dice)))
    if name in ("rmtree", "mkdirs"):
        return Operation(name, (dice.choice(DIRECTORIES),))
    if name == "let_go":
        return Operation(name)
    return Operation(name, (dice.choice(DIRECTORIES), dice.choice([*DIRECTORIES, "d1/z", "d3/z/q"])))


_WEIGHTS = {
    "create": 24, "replace": 8, "append": 6, "write": 6, "truncate": 2, "unlink": 14, "rename": 12, "link": 3,
    "exchange": 3, "rmtree": 4, "mkdirs": 4, "rename_directory": 6, "exchange_directories": 2, "hold": 2, "let_go": 3,
}  # fmt: skip


# ---- done to the tree

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class Tree:
    """The tree the operations work on. Files that are held open stay so until they are let go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._held: list[int] = []
        self._libc = ctypes.CDLL(None, use_errno=True)

    def do(self, operation: Operation) -> None:
        """Do one, or nothing where it can't be done."""
        work: Callable[..., None] = getattr(self, operation.name)
        try:
            work(*operation.arguments)
        except (OSError, shutil.Error):
            return

    def _at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def _put(self, path: str, content: str, flags: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
        try:
            os.write(descriptor, content.encode())
        finally:
            os.close(descriptor)

    def create(self, path: str, content: str) -> None:
        os.makedirs(os.path.dirname(self._at(path)), exist_ok=True)
        self._put(self._at(path), content, os.O_CREAT | os.O_TRUNC)

    def replace(self, path: str, content: str) -> None:
        self._put(self._at(path) + ".new", content, os.O_CREAT | os.O_TRUNC)
        os.rename(self._at(path) + ".new", self._at(path))

    def append(self, path: str, content: str) -> None:
        self._put(self._at(path), content, os.O_APPEND)

    def write(self, path: str, content: str) -> None:
        """In place, and often of the same size as before."""
        self._put(self._at(path), content, 0)

    def truncate(self, path: str) -> None:
        os.truncate(self._at(path), 3)

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new))

    def exchange(self, one: str, other: str) -> None:
        first, second = os.fsencode(self._at(one)), os.fsencode(self._at(other))
        self._libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)

    exchange_directories = exchange

    def rmtree(self, path: str) -> None:
        shutil.rmtree(self._at(path))

    def mkdirs(self, path: str) -> None:
        os.makedirs(self._at(path), exist_ok=True)

    def rename_directory(self, old: str, new: str) -> None:
        os.makedirs(os.path.dirname(self._at(new)), exist_ok=True)
        os.rename(self._at(old), self._at(new))

    def hold(self, path: str, content: str) -> None:
        """Write and stay open, as a slow writer does."""
        descriptor = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._held.append(descriptor)
        os.write(descriptor, content.encode())

    def let_go(self) -> None:
        """The slow writers write their last and close."""
        while self._held:
            descriptor = self._held.pop()
            os.write(descriptor, b".")
            os.close(descriptor)

    def flood(self) -> None:
        """More events than a stalled reader's queue takes."""
        self.mkdirs("flood")
        for number in range(FLOOD):
            path = self._at(f"flood/{number}")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
            os.unlink(path)

    def files(self) -> dict[str, str]:
        """Every file with its content, by relative path."""
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                found[os.path.relpath(path, self.root)] = Path(path).read_text()
        return found
