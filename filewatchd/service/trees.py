"""A tree that rules watch, walked once for `filewatchd doctor`: what is in it, and what each rule makes of that."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable

from filewatchd.model import RuleSettings
from filewatchd.rules.match import Selection

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})  # removed or replaced since its parent was listed
_DEEPEST = 400  # levels; the daemon's walk ends there too
_MOST_ENDINGS = 500  # different ends of names remembered for a hint

Scopes = list["Scope"]


class Scope:
    """One rule on one tree: what it selects, and which of its patterns have matched nothing so far."""

    def __init__(self, rule: RuleSettings) -> None:
        self.rule = rule
        self.selected = 0  # files
        self.endings: Counter[str] = Counter()  # of the files there, whether selected or not
        # `!` only turns a pattern's meaning: what it matches is asked without
        self.idle_include = {text: Selection([text.removeprefix("!")], ()) for text in rule.include}
        self.idle_exclude = {text: Selection((), [text.removeprefix("!")]) for text in rule.exclude}
        self._selection = Selection(rule.include, rule.exclude, rule.presets)
        self._kept = Selection((), rule.exclude, rule.presets)

    def descends(self, directory: str) -> bool:
        """True if the rule wants to look into a directory, relative to the tree."""
        if not self.rule.recursive:
            return False
        _drop(self.idle_exclude, lambda pattern: pattern.prunes(directory))
        return not self._selection.prunes(directory)

    def selects(self, directory: str, entry: os.DirEntry[str]) -> bool:
        """True if an entry that is no directory is a file of the rule's."""
        if not entry.is_file(follow_symlinks=self.rule.follow_symlinks):
            return False
        name = entry.name
        if self.idle_exclude:
            _drop(self.idle_exclude, lambda pattern: not pattern.selects(directory, name))
        if self.idle_include:
            self._note_ending(name)
            if self._kept.selects(directory, name):
                _drop(self.idle_include, lambda pattern: pattern.selects(directory, name))
        selected = self._selection.selects(directory, name)
        self.selected += selected
        return selected

    def _note_ending(self, name: str) -> None:
        ending = os.path.splitext(name)[1]
        if ending in self.endings or len(self.endings) < _MOST_ENDINGS:
            self.endings[ending] += 1


def _drop(idle: dict[str, Selection], matches: Callable[[Selection], bool]) -> None:
    """Take out what has matched now."""
    for text in [text for text, pattern in idle.items() if matches(pattern)]:
        del idle[text]


class Tree:
    """A real directory and what was found in it; one thread walks, others may read the counts."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.scopes: Scopes = []
        self.directories = 0
        self.files = 0  # that a rule selects
        self.entries = 0  # everything seen: moves while the filesystem answers
        self.watched: set[int] = set()  # directories that would be watched, see `key_of`
        self.failures: Counter[str] = Counter()  # why -> directories that can't be looked into
        self.failed: dict[str, str] = {}  # why -> the first of them
        self.stopped = False  # set to end the walk
        self.bounded = False  # the walk ended at its bound
        self.stalled = False  # its filesystem doesn't answer

    @property
    def whole(self) -> bool:
        """True if nothing was left out."""
        return not (self.stopped or self.bounded or self.stalled or self.failures)

    def walk(self, bound: int) -> None:
        """Look into every directory that a rule wants, up to a number of them; symlinks aren't followed."""
        stack: list[tuple[str, Scopes]] = [("", self.scopes)]
        while stack and not self.stopped:
            if self.directories >= bound:
                self.bounded = True
                return
            below, scopes = stack.pop()
            try:
                stack.extend(self._visit(below, scopes))
            except OSError as error:
                if error.errno not in _VANISHED:
                    self._fail(below, error.strerror or str(error))

    def _visit(self, below: str, scopes: Scopes) -> list[tuple[str, Scopes]]:
        if below.count("/") >= _DEEPEST:
            self._fail(below, f"deeper than {_DEEPEST} levels")
            return []
        fd = os.open(f"{self.top.rstrip('/')}/{below}", _OPEN)
        try:
            self.watched.add(key_of(fd))
            self.directories += 1
            return self._list(fd, below, scopes)
        finally:
            os.close(fd)

    def _list(self, fd: int, below: str, scopes: Scopes) -> list[tuple[str, Scopes]]:
        found: list[tuple[str, Scopes]] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                self.entries += 1
                if entry.is_dir(follow_symlinks=False):
                    child = f"{below}/{entry.name}" if below else entry.name
                    if inner := [scope for scope in scopes if scope.descends(child)]:
                        found.append((child, inner))
                else:
                    wanted = [scope.selects(below, entry) for scope in scopes]  # each of them counts
                    self.files += any(wanted)
        return found

    def _fail(self, below: str, why: str) -> None:
        self.failures[why] += 1
        self.failed.setdefault(why, f"{self.top.rstrip('/')}/{below}")


def key_of(fd: int) -> int:
    """A number for an open directory, for sets of a million of them."""
    info = os.fstat(fd)
    return info.st_dev << 64 | info.st_ino
