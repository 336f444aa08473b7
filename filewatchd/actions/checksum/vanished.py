"""Files that were deleted a moment ago: one that appears with the same inode or content was moved, not made."""

from __future__ import annotations

from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import OTHER, Record

_MOST = 20_000

Known = tuple[Record | None, str | None]


class Vanished:
    """The last of them, by root."""

    def __init__(self) -> None:
        self._by_inode: dict[tuple[str, int], tuple[str, Record]] = {}
        self._by_digest: dict[tuple[str, bytes], tuple[str, Record]] = {}

    def add(self, root: str, path: str, row: Record) -> None:
        """A path is gone."""
        if max(len(self._by_inode), len(self._by_digest)) >= _MOST:  # one inode may be many files in turn
            self._by_inode.clear()
            self._by_digest.clear()
        self._by_inode[root, row.identity.ino] = path, row
        if row.digest is not None and row.identity.size and not row.flags & OTHER:
            self._by_digest[root, row.digest] = path, row

    def by_identity(self, root: str, identity: FileIdentity) -> Known:
        """The one with this inode, size and modification time."""
        path, row = self._by_inode.get((root, identity.ino), (None, None))
        if row is None or row.identity[:3] != identity[:3]:
            return None, None
        self._forget(root, row)
        return row, path

    def by_digest(self, root: str, digest: bytes) -> Known:
        """The one with this content."""
        path, row = self._by_digest.get((root, digest), (None, None))
        if row is not None:
            self._forget(root, row)
        return row, path

    def _forget(self, root: str, row: Record) -> None:
        self._by_inode.pop((root, row.identity.ino), None)
        if row.digest is not None:
            self._by_digest.pop((root, row.digest), None)
