"""SQLite's errors in an operator's words: what an operator can mend becomes a `StateError` with its remedy."""

from __future__ import annotations

import os
import sqlite3

from filewatchd.errors import StateError

_SPACE = "free space on this filesystem"
_READ_ONLY = "mount the filesystem read-write (dmesg tells why it is not) and let the daemon's user write it"
_OTHER_PROGRAM = "end the other program that has it open for writing"
_RESTART = "restart the daemon: it sets the file aside, starts a fresh one and scans again"
_REMEDIES = {
    sqlite3.SQLITE_FULL: _SPACE,
    sqlite3.SQLITE_IOERR: "check the disk, the space on it and its quota (df, journalctl -k)",
    sqlite3.SQLITE_BUSY: _OTHER_PROGRAM,
    sqlite3.SQLITE_LOCKED: _OTHER_PROGRAM,
    sqlite3.SQLITE_PROTOCOL: "keep state_dir on a local filesystem, where locks work",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "let the daemon's user open it, or raise the open-files limit (LimitNOFILE=)",
    sqlite3.SQLITE_PERM: "let the daemon's user read and write it",
    sqlite3.SQLITE_NOMEM: "give the daemon more memory (MemoryMax=)",
    sqlite3.SQLITE_CORRUPT: _RESTART,
    sqlite3.SQLITE_NOTADB: _RESTART,
}


def code(error: sqlite3.Error) -> int:
    """The primary result code (https://sqlite.org/rescode.html); 0 where the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(error: sqlite3.Error) -> bool:
    """True if the file itself is bad."""
    return code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def typed(error: sqlite3.Error, path: str) -> Exception:
    """A `StateError` for what an operator can mend; the error itself where it is a mistake of ours."""
    remedy = _REMEDIES.get(code(error))
    if remedy is None:
        return error
    if code(error) == sqlite3.SQLITE_IOERR and _is_read_only(path):
        remedy = f"its filesystem is read-only: {_READ_ONLY}"
    return StateError(f"{path}: {error}; {remedy}", path=path, corrupt=damaged(error))


def _is_read_only(path: str) -> bool:
    """SQLite says the same of a filesystem that became read-only under it (EROFS) as of a broken disk (EIO)."""
    try:
        return bool(os.statvfs(os.path.dirname(path) or ".").f_flag & os.ST_RDONLY)
    except OSError:
        return False
