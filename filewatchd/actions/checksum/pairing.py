"""Which new file is which missing one: by the identity that both have, else by their content. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import OTHER, SYMLINK, WAITING, Change, Record, Stamp, split, stamp


def paired(
    unknown: dict[str, FileIdentity | None], gone: dict[str, Record], waiting: Mapping[str, Change]
) -> dict[str, str]:
    """New path -> old, where all of a file's identity is as it was: only a directory above it was renamed.

    ``waiting``: moves that wait already, by their new path; they stay as they were told. A file with several names has
    as many rows with its identity: each new name is one of them, the one of the same name if it is there. A symlink's
    ctime, which a rename moves, isn't asked for: there is no content to go by as well.
    """
    found = {}
    for path, told in waiting.items():
        identity = unknown.get(path)
        same = identity is not None and told.after is not None and stamp(*identity) == stamp(*told.after.identity)
        if same and told.old_path is not None and told.old_path in gone:
            found[path] = told.old_path
    by_stamp: dict[Stamp | tuple[int, int, int], list[str]] = {}
    for path in sorted(gone.keys() - set(found.values()), reverse=True):
        if not gone[path].flags & WAITING:
            known = stamp(*gone[path].identity)
            by_stamp.setdefault(known[:3] if gone[path].flags & SYMLINK else known, []).append(path)
    for path, identity in unknown.items():
        now = stamp(*identity) if identity is not None and path not in found else None
        olds = (by_stamp.get(now) or by_stamp.get(now[:3])) if now is not None else None
        if olds:
            name = split(path)[1]
            old = next((each for each in olds if split(each)[1] == name), olds[-1])
            olds.remove(old)
            found[path] = old
    return found


class Pairs:
    """Pairs by identity (``moved``: new path -> old), to which those by content come as new files are read."""

    def __init__(self, moved: dict[str, str], gone: dict[str, Record]) -> None:
        self._moved, self._gone = moved, gone
        self._by_digest: dict[bytes, list[str]] = {}
        for path in sorted(gone.keys() - set(moved.values()), reverse=True):
            if (digest := gone[path].digest) is not None and not gone[path].flags & OTHER:
                self._by_digest.setdefault(digest, []).append(path)

    def of(self, path: str, digests: Sequence[bytes]) -> tuple[str, Record] | None:
        """The path that a new file had and its row, if it is one that is missing. ``digests``: of a file's content."""
        same = self._by_digest.get(digests[0]) if digests and path not in self._moved else None
        if same:
            self._moved[path] = same.pop()
        old = self._moved.get(path)
        return None if old is None else (old, self._gone[old])
