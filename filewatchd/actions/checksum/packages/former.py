"""Deletions that are a package's doing: its database doesn't say what it forgot, so its former lists are remembered.

A deleted path is a package's if the package had it, has now another version or none, and nobody's list has it any
more. What is deleted by hand agrees with that only by an accident of time, so two moments are held against it: it was
found after the database last agreed with the former list, and what was deleted is older than the database that hasn't
got it: neither a deletion from before the upgrade counts, nor that of a file that somebody made there since.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.packages.names import Listed
from filewatchd.state.index.shipped import News, Shipped, packed

REMOVED = "removed"  # for a version; dpkg's begin with a digit
_DATABASE = "dpkg "


class Deleted(NamedTuple):
    """A deletion: its absolute path, when it was found (our clock), and the ctime of the file that was there."""

    path: str
    found_ns: int
    ctime_ns: int


def labels(dpkg: Dpkg, deleted: Sequence[Deleted], lists: Iterable[Shipped], surveyed_ns: int) -> dict[str, str]:
    """The labels of those that are a package's doing, by path. ``surveyed_ns``: `state.index.shipped.surveyed`.

    Raises:
        OSError: the database can't be read.
    """
    standing, written, names = dpkg.standing(), dpkg.written_ns(), dpkg.names()
    wanted: dict[bytes, list[tuple[Deleted, Listed]]] = {}
    for each in deleted:
        listed = names.listed(os.fsencode(each.path))
        wanted.setdefault(listed.name, []).append((each, listed))
    found: dict[str, tuple[bytes, str]] = {}
    for former in lists:
        name = former.package.removeprefix(_DATABASE)
        version = standing.get(name, REMOVED)
        if version is None or version == former.version:
            continue
        since = surveyed_ns if former.until_ns is None else former.since_ns
        until = written if former.until_ns is None else former.until_ns
        bare = os.fsencode(name).partition(b":")[0]
        for path in former.files() & wanted.keys():
            for each, listed in wanted[path]:
                if listed.of(bare) and each.found_ns >= since and each.ctime_ns <= until:
                    found[each.path] = path, f"{former.package} {version}"
    owned = dpkg.owned({name for name, _ in found.values()}) if found else set()
    return {path: label for path, (name, label) in found.items() if name not in owned}


def survey(dpkg: Dpkg, directory: str, known: Mapping[str, str], asked_ns: int) -> News:
    """What is otherwise than the current lists of a root; ``known``: their versions by package.

    Raises:
        OSError: the database can't be read.
    """
    written, standing = dpkg.written_ns(), dpkg.standing()
    otherwise = {
        name for name, version in standing.items() if version is not None and known.get(_DATABASE + name) != version
    }
    files = dpkg.files_below(directory, otherwise) if otherwise else ()
    lists = {_DATABASE + name: (standing[name] or "", packed(listed)) for name, listed in files}
    return News(asked_ns, written, lists, frozenset(key for key in known if key[len(_DATABASE) :] not in standing))
