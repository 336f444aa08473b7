"""Own files: a rule that would see the daemon's own writing would never come to rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from filewatchd.config.rules import PATIENCE
from filewatchd.config.schema import Daemon, Logging
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


class OwnFiles:
    """The files the daemon writes without end."""

    def __init__(self, daemon: Daemon, logging: Logging) -> None:
        state = os.path.realpath(daemon.state_dir)
        self._written = [("daemon.state_dir", state, f"{state}/{name}") for name in ("journal.db-wal", "state.json")]
        for what, path in (("path", logging.files.path), ("errors", logging.files.errors)) if logging.files else ():
            if path is not None:
                real = os.path.realpath(path)
                self._written.append((f"logging.files.{what}", real, real))

    def _real(self, root: str) -> str:
        try:
            return attend(lambda: os.path.realpath(root), PATIENCE)
        except StalledError:  # as it is named, then: our own files answered, so they aren't behind it
            return root

    def seen_by(self, rule: RuleSettings) -> Iterator[Seen]:
        """What of them the rule would see; each setting once."""
        told = set()
        for index, root in enumerate(rule.roots):
            for what, place, file in self._written:
                below = _below(self._real(root), file)
                if what in told or below is None or not _selects(rule, below):
                    continue
                told.add(what)
                base = file[: len(file) - len(below)].rstrip("/")
                pattern = place[len(base) :] or "/*"
                yield Seen(index, what, place, pattern if place == file else pattern.removesuffix("/*") + "/")


def _below(root: str, file: str) -> str | None:
    """The file's path below the root ("" if it is the root); None if it isn't there. The root may be a glob."""
    if file == root or root == "/":
        return file[1:] if root == "/" else ""
    wanted, parts = root.split("/"), file.split("/")
    if len(parts) < len(wanted) or not all(map(fnmatchcase, parts, wanted)):
        return None
    return "/".join(parts[len(wanted) :])


def _selects(rule: RuleSettings, below: str) -> bool:
    if not below:
        return True
    if not rule.recursive and "/" in below:
        return False
    return selects(rule.include, rule.exclude, below)
