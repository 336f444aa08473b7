"""Own files: a rule that would see the daemon's own writing would never come to rest."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from filewatchd.config.rules import PATIENCE
from filewatchd.config.schema import Control, Daemon, Logging
from filewatchd.errors import StalledError
from filewatchd.model import RuleSettings
from filewatchd.patience import attend
from filewatchd.patterns import selects


class Seen(NamedTuple):
    """A file of the daemon's that a rule would see."""

    root: int  # index
    what: str  # the setting that puts it there
    path: str
    exclude: str  # a pattern that would keep it out


class _Written(NamedTuple):
    """A file that is written without end; what is told of it, and an absolute pattern that keeps it out."""

    what: str
    place: str
    file: str
    exclude: str


class OwnFiles:
    """The files the daemon writes without end."""

    def __init__(self, daemon: Daemon, logging: Logging, control: Control) -> None:
        state = os.path.realpath(daemon.state_dir)
        names = ("journal.db-wal", "state.json")
        self._written = [_Written("daemon.state_dir", state, f"{state}/{name}", f"{state}/") for name in names]
        for what, path in (("path", logging.files.path), ("errors", logging.files.errors)) if logging.files else ():
            if path is not None:
                real = os.path.realpath(path)
                self._written.append(_Written(f"logging.files.{what}", real, real, real))
        if control.textfile is not None:
            real = os.path.realpath(control.textfile)
            directory, name = os.path.split(real)
            for each in (name, f".{name}.0.tmp"):  # by which it is replaced: see state/atomic.py
                self._written.append(_Written("control.textfile", real, f"{directory}/{each}", f"{directory}/*{name}*"))

    def _real(self, root: str) -> str:
        try:
            return attend(lambda: os.path.realpath(root), PATIENCE)
        except StalledError:  # as it is named, then: our own files answered, so they aren't behind it
            return root

    def seen_by(self, rule: RuleSettings) -> Iterator[Seen]:
        """What of them the rule would see; each setting once."""
        told = set()
        for index, root in enumerate(rule.roots):
            for what, place, file, exclude in self._written:
                path = below(self._real(root), file)
                if what in told or path is None or not _selects(rule, path):
                    continue
                told.add(what)
                base = file[: len(file) - len(path)].rstrip("/")
                yield Seen(index, what, place, exclude[len(base) :] if path else "/*")


def below(root: str, file: str) -> str | None:
    """The file's path below the root ("" if it is the root); None if it isn't there. The root may be a glob."""
    if file == root or root == "/":
        return file[1:] if root == "/" else ""
    if not glob.has_magic(root):
        return file[len(root) + 1 :] if file.startswith(f"{root}/") else None
    wanted, parts = root.split("/"), file.split("/")
    if len(parts) < len(wanted) or not all(map(fnmatchcase, parts, wanted)):
        return None
    return "/".join(parts[len(wanted) :])


def _selects(rule: RuleSettings, path: str) -> bool:
    if not path:
        return True
    if not rule.recursive and "/" in path:
        return False
    return selects(rule.include, rule.exclude, path)
