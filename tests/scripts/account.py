"""What a rule was told, held against what a script expects and against the disk."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.e2e.running import Recorder, Seen, named
from tests.scripts.folding import Told, fold, unpaired
from tests.scripts.language import Expected

#: A rename is surely told as one by those who are told of it as one; the others may see its two sides apart.
PAIRING = frozenset({"inotify", "pyinotify"})


class Account:
    """The changes of one rule. Paths in scripts are relative to the scene; ``seen`` is where the daemon sees that."""

    def __init__(self, recorder: Recorder, seen: str, roots: Sequence[str], *, follow: bool, pairs: bool) -> None:
        """``follow``: links to files count as files. ``pairs``: renames must be told as such."""
        self.recorder = recorder
        self._seen = seen
        self._roots = roots
        self._follow = follow
        self._pairs = pairs
        self._read = 0
        self._start: Mapping[str, Seen] = {}

    def open(self, *, known: bool) -> None:
        """The daemon starts for the first time; ``known``: what stands there is nothing new."""
        self._start = self._on_disk() if known else {}

    def expect(self, wanted: Sequence[Expected]) -> None:
        """What was told since the last time amounts to this."""
        told = self._told()
        found = self._comparable(fold(told))
        sure = self._comparable({each.told for each in wanted if each.sure})
        allowed = sure | self._comparable({each.told for each in wanted if not each.sure})
        assert sure <= found <= allowed, "\n".join(
            [
                *([f"expected and not told:\n{_listed(sure - found)}"] if sure - found else []),
                *([f"told and not expected:\n{_listed(found - allowed)}"] if found - allowed else []),
                f"all that was told, in this order:\n{_listed(told)}",
            ]
        )

    def close(self, *, whole: bool) -> None:
        """Nothing more was told, and all that was is the disk; ``whole``: so are the files nobody was told of."""
        self.expect([])
        disk, view = self._on_disk(), self.recorder.view(self._start)
        paths = view.keys() | disk.keys() if whole else view.keys() - self._start.keys()
        wrong = [path for path in sorted(paths) if view.get(path) != disk.get(path)]
        lines = [f"{self._short(path)}: told {view.get(path)}, is {disk.get(path)}" for path in wrong[:20]]
        assert not wrong, "\n".join(["what was told isn't what is on the disk:", *lines])

    def _told(self) -> list[Told]:
        changes = self.recorder.changes()
        new, self._read = changes[self._read :], len(changes)
        return [self._change(change) for change in new]

    def _change(self, change: Mapping[str, Any]) -> Told:
        old = self._short(named(change, "old_path")) if "old_path" in change else None
        return Told(change["kind"], self._short(named(change)), old)

    def _comparable(self, changes: set[Told]) -> set[Told]:
        return changes if self._pairs else unpaired(changes)

    def _short(self, path: str) -> str:
        return path.removeprefix(self._seen + "/")

    def _on_disk(self) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for root in self._roots:
            for top in glob.glob(f"{self._seen}/{root}"):
                found.update(_files_in(top, follow=self._follow))
        return found


def _files_in(top: str, *, follow: bool) -> dict[str, Seen]:
    """The regular files of a root, whose own path may lead through links. ``follow``: links to files, too."""
    paths = [os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names]
    wanted = [path for path in paths if os.path.isfile(path) and (follow or not os.path.islink(path))]
    found = {}
    for path in [*wanted, *([top] if os.path.isfile(top) else [])]:
        status = os.stat(path)
        found[path] = Seen(status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _listed(changes: Iterable[Told]) -> str:
    each = map(str, changes)
    return "\n".join(f"  {change}" for change in (sorted(each) if isinstance(changes, set) else each))
