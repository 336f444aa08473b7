"""How a database file comes to be open: made whole or not at all, checked, migrated, or set aside.

A new file is built under another name and renamed into place, so an empty or headless file under the real name is
always damage, never a start that was cut off. A bad file (damaged, truncated, not ours) is renamed together with
its log, never written again; a log without its database is set aside too, since SQLite would play it into a new one.
Renames go database first: cut off in the middle, the next start finds the log alone. A file is looked at read-only
before it is opened for writing, because SQLite plays the log into the database when it closes, however bad that is.

The loss that a bad file means is written into the fresh one, and stays until an operator has seen it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from filewatchd.clock import Clock
from filewatchd.errors import FatalError, StateError
from filewatchd.state.atomic import remedy, sync_directory
from filewatchd.state.salvage import take_over
from filewatchd.state.schema import Migration
from filewatchd.state.sqlite_errors import code, damaged

CHECK_BELOW = 64 * 2**20  # bytes; a check reads the whole file before the daemon can start
_SHRINKABLE = "PRAGMA auto_vacuum = INCREMENTAL"  # before the first table, or before a VACUUM
_SIDE_FILES = ("-wal", "-shm", "-journal")


class Opened(NamedTuple):
    """An open connection, and what it took."""

    connection: sqlite3.Connection
    created: bool
    set_aside: str | None
    backup: str | None
    salvaged: Sequence[str] = ()


class _ForeignError(Exception):
    """The file is a database, but not one of ours."""


def open_database(path: str, migrations: Sequence[Migration], application_id: int, clock: Clock) -> Opened:
    """Open, or make, the database at ``path`` with the newest schema.

    Raises:
        FatalError: exit code 78 for a newer schema, 77 for a file that is refused or can't be reached.
        StateError: the disk is full or fails.
        sqlite3.Error: any other error of SQLite's.
    """
    try:
        return _open(path, migrations, application_id, clock)
    except OSError as error:
        number = error.errno or 0
        raise StateError(f"{path}: {error.strerror or error}; {remedy(number)}", path=path, errno=number) from error


def _open(path: str, migrations: Sequence[Migration], application_id: int, clock: Clock) -> Opened:
    aside = None
    if _stands(path):
        for last in (False, True):  # a read that fails once looks like damage to SQLite's check
            try:
                connection, backup = _open_existing(path, migrations, application_id, clock)
            except (sqlite3.Error, _ForeignError) as error:
                if isinstance(error, sqlite3.Error) and not damaged(error):
                    raise
                if last:
                    aside = _set_aside(path, clock)
            else:
                return Opened(connection, created=False, set_aside=None, backup=backup)
    elif any(os.path.lexists(path + suffix) for suffix in _SIDE_FILES):
        aside = _set_aside(path, clock)
    broken_since = clock.wall_ns() if aside else None
    salvaged = _create(path, migrations, application_id, broken_since, aside)
    return Opened(_connect(path), created=True, set_aside=aside, backup=None, salvaged=salvaged)


def _stands(path: str) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise FatalError(f"{path} is no regular file of its own; move it away, or set another state_dir", exit_code=77)
    if found.st_uid != os.geteuid():
        who = f"{path} belongs to uid {found.st_uid}, the daemon runs as uid {os.geteuid()}"
        raise FatalError(f"{who}; chown it, or set another state_dir", exit_code=77)
    if found.st_mode & 0o077:
        os.chmod(path, 0o600)
    return True


# ---- a file that is there


def _open_existing(
    path: str, migrations: Sequence[Migration], application_id: int, clock: Clock
) -> tuple[sqlite3.Connection, str | None]:
    version = _inspect(path, len(migrations), application_id)
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        _make_shrinkable(connection)
        backup = None
        if version < len(migrations):
            backup = _back_up(connection, path, version, clock)
            _migrate(connection, migrations, version, application_id)
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
    except BaseException:
        connection.close()
        raise
    return connection, backup


def _make_shrinkable(connection: sqlite3.Connection) -> None:
    """A file that wasn't born with auto_vacuum is written anew, once. Without the room for that it stays as it is."""
    if connection.execute("PRAGMA auto_vacuum").fetchone() != (0,):
        return
    connection.execute(_SHRINKABLE)
    try:
        connection.execute("VACUUM")
    except sqlite3.Error as error:
        if code(error) != sqlite3.SQLITE_FULL:
            raise


def _inspect(path: str, newest: int, application_id: int) -> int:
    if os.stat(path).st_size == 0:
        raise _ForeignError  # SQLite would take it for a new database and remove its log
    connection = sqlite3.connect(f"file:{quote_from_bytes(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None)
    try:
        version = _version(connection, path, newest, application_id)
        _check(connection, path)
    finally:
        connection.close()
    return version


def _version(connection: sqlite3.Connection, path: str, newest: int, application_id: int) -> int:
    (found_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if found_id != application_id or version == 0:
        raise _ForeignError
    if version > newest:
        what = f"{path} has schema version {version}, this filewatchd knows versions up to {newest}"
        raise FatalError(f"{what}; install the newer filewatchd again, or set another state_dir", exit_code=78)
    return int(version)


def _check(connection: sqlite3.Connection, path: str) -> None:
    suspect = os.path.lexists(_marker(path))
    clean = connection.execute("SELECT value FROM meta WHERE name = 'clean'").fetchone() == ("1",)
    if suspect or (not clean and os.stat(path).st_size < CHECK_BELOW):
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise _ForeignError
    if suspect:
        os.unlink(_marker(path))


def mark_suspect(path: str) -> None:
    """Have the next start check the whole file: it failed in use."""
    try:
        os.close(os.open(_marker(path), os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError:
        return  # the disk fails altogether; the unclean end has a small file checked anyway


def _marker(path: str) -> str:
    return path + ".suspect"


# ---- migration


def _migrate(
    connection: sqlite3.Connection, migrations: Sequence[Migration], version: int, application_id: int
) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[version:]:
            if callable(migration):
                migration(connection)
            else:
                for statement in _statements(migration):
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _back_up(connection: sqlite3.Connection, path: str, version: int, clock: Clock) -> str:
    target = _free_name(f"{path}.v{version}-{_stamp(clock)}")
    temporary = _fresh(path + ".backup")
    copy = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    _put_in_place(temporary, target)
    return target


# ---- a new file


def _create(
    path: str, migrations: Sequence[Migration], application_id: int, broken_since: int | None, aside: str | None
) -> list[str]:
    """Make the file whole; returns what was taken over of the one that was set aside."""
    temporary = _fresh(path + ".new")
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        connection.execute(_SHRINKABLE)
        connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.execute("INSERT INTO meta VALUES ('clean', '0')")
        if broken_since is not None:
            connection.execute("INSERT INTO meta VALUES ('promise_broken_since', ?)", (str(broken_since),))
        _migrate(connection, migrations, 0, application_id)
        salvaged = take_over(connection, aside) if aside is not None else []
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _put_in_place(temporary, path)
    return salvaged


def _fresh(path: str) -> str:
    for suffix in ("", *_SIDE_FILES):
        if os.path.lexists(path + suffix):
            os.unlink(path + suffix)  # a start that was cut off left it
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return path


def _put_in_place(temporary: str, path: str) -> None:
    fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_directory(os.path.dirname(path) or ".")


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=2.0)


# ---- setting aside


def _set_aside(path: str, clock: Clock) -> str:
    target = _free_name(f"{path}.corrupt-{_stamp(clock)}")
    for suffix in ("", *_SIDE_FILES):
        if os.path.lexists(path + suffix):
            os.rename(path + suffix, target + suffix)
    if os.path.lexists(_marker(path)):
        os.unlink(_marker(path))
    sync_directory(os.path.dirname(path) or ".")
    return target


def _free_name(name: str) -> str:
    number, candidate = 1, name
    while any(os.path.lexists(candidate + suffix) for suffix in ("", *_SIDE_FILES)):
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _stamp(clock: Clock) -> str:
    return f"{datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC):%Y%m%dT%H%M%SZ}"
