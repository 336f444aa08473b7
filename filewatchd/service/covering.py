"""Which of a rule's roots a path is below, and if none, how far away it is. Names only: the disk isn't asked."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from filewatchd.jobs.binding import below
from filewatchd.watch.locate import is_glob


class Covered(NamedTuple):
    """A root that a path is below.

    Attributes:
        root: as the user named it; of a glob, the member.
        entry: its place in the rule's ``roots``; None of a member that no glob names any more.
        relative: the path below it.
        real: the root's real path, if the path is below it only by that.
    """

    root: str
    entry: int | None
    relative: str
    real: str = ""


def member_of(pattern: str, path: str) -> str | None:
    """The member of a glob that is, or would be, at a path or above it."""
    parts, wanted = path.split("/"), pattern.split("/")
    if len(parts) < len(wanted):
        return None
    matches = all(_matches(part, name) for part, name in zip(wanted, parts, strict=False))
    return "/".join(parts[: len(wanted)]) if matches else None


def _matches(part: str, name: str) -> bool:
    """As `watch.locate.expand` does: hidden names need a literal dot."""
    return fnmatch.fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))


def covered(roots: Iterable[str], real: Mapping[str, str], path: str, real_path: str) -> Covered | None:
    """The root that covers a path, the innermost one; None if there is none.

    Args:
        roots: as they are configured, with globs.
        real: where roots really are, by their names; members of globs too.
        path: as it was asked for, absolute and normal.
        real_path: with the symlinks on its way followed.
    """
    named = [(entry, root, root if not is_glob(root) else member_of(root, path)) for entry, root in enumerate(roots)]
    found = [Covered(m, entry, relative) for entry, _, m in named if m and (relative := below(m, path)) is not None]
    if not found:
        entries = {root: entry for entry, root, _ in named}
        ways = [(name, real_root) for name, real_root in real.items() if real_root]
        ways += [(root, root) for root in entries if root not in real and not is_glob(root)]
        found = [
            Covered(name, _entry(name, entries), relative, place)
            for name, place in ways
            if (relative := below(place, real_path)) is not None
        ]
    return max(found, key=lambda each: len(each.root), default=None)


def _entry(name: str, entries: Mapping[str, int]) -> int | None:
    """The configured root that a root's name comes from."""
    if name in entries:
        return entries[name]
    return next((entry for root, entry in entries.items() if is_glob(root) and member_of(root, name) == name), None)


def away(roots: Iterable[str], path: str) -> tuple[int, str]:
    """The place in the list of the root that is nearest to an uncovered path, and in words how it lies to it."""
    listed = list(roots)
    nearest = max(range(len(listed)), key=lambda entry: len(os.path.commonpath([listed[entry], path])))
    root = listed[nearest]
    if below(path, root) is not None:
        return nearest, f"it is above the root {root}"
    which = "its root" if len(listed) == 1 else f"any of its {len(listed)} roots; the nearest is"
    return nearest, f"it isn't below {which} {root}"
