"""The index's schema. To change it, add an entry at the end of `MIGRATIONS`; entries never change.

What a million files cost is the table `files`, so: a directory's path is stored once; the rows are the primary key's
own tree (WITHOUT ROWID) and nothing is indexed but what few rows have; digests are bytes; the ctime is stored as its
distance from the mtime, which is small or 0; attributes that many files share are stored once. To find a digest
therefore reads all rows.

Times of files are nanoseconds; `verified` is seconds. Inode numbers are signed (see `filewatchd.state.rows`).
"""

from __future__ import annotations

from filewatchd.state.schema import Migration

APPLICATION_ID = 0x46575749  # "FWWI"

_VERSION_1 = """
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    root BLOB NOT NULL,
    selection TEXT NOT NULL DEFAULT '',
    built_ns INTEGER,
    UNIQUE (rule, root)
);

CREATE TABLE directories (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL,
    path BLOB NOT NULL,
    filesystem INTEGER NOT NULL DEFAULT 0,
    UNIQUE (root, path)
);

CREATE TABLE filesystems (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE attributes (
    id INTEGER PRIMARY KEY,
    packed BLOB NOT NULL UNIQUE
);

CREATE TABLE files (
    dir INTEGER NOT NULL,
    name BLOB NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime INTEGER NOT NULL,
    later INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    digest BLOB,
    attributes INTEGER,
    PRIMARY KEY (dir, name)
) WITHOUT ROWID;
CREATE INDEX files_racy ON files (dir, name) WHERE flags & 1;

CREATE TABLE versions (
    root INTEGER NOT NULL,
    path BLOB NOT NULL,
    until_ns INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (root, path, until_ns)
) WITHOUT ROWID;

CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root INTEGER NOT NULL,
    path BLOB NOT NULL,
    old_path BLOB,
    verdict TEXT NOT NULL,
    state TEXT NOT NULL,
    found_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    message TEXT NOT NULL DEFAULT '',
    before BLOB,
    after BLOB,
    label TEXT,
    decided_ns INTEGER,
    uid INTEGER,
    comment TEXT
);
CREATE INDEX changes_waiting ON changes (root, path) WHERE state IN ('open', 'pending', 'rejected');

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    mode TEXT NOT NULL,
    scope BLOB NOT NULL,
    state TEXT NOT NULL,
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    root BLOB NOT NULL DEFAULT x'',
    cursor BLOB,
    files INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    findings INTEGER NOT NULL DEFAULT 0,
    uid INTEGER
);
CREATE INDEX runs_rule ON runs (rule, kind);
"""

_VERSION_2 = """
CREATE TABLE chain (
    number INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    root INTEGER,
    path BLOB,
    before BLOB,
    after BLOB,
    note BLOB,
    hash BLOB NOT NULL
);

CREATE TABLE seals (
    number INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,
    statement TEXT NOT NULL,
    key BLOB NOT NULL,
    signature BLOB NOT NULL,
    uid INTEGER
);

CREATE TABLE packages (
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL
) WITHOUT ROWID;
"""

_VERSION_3 = """
CREATE TABLE lists (
    root INTEGER PRIMARY KEY,
    name BLOB NOT NULL,
    algorithm TEXT NOT NULL,
    entry INTEGER NOT NULL,
    identity BLOB NOT NULL
);
"""

_VERSION_4 = """
CREATE TABLE shipped (
    root INTEGER NOT NULL,
    package TEXT NOT NULL,
    version TEXT NOT NULL,
    since_ns INTEGER NOT NULL,
    until_ns INTEGER,
    files BLOB NOT NULL,
    PRIMARY KEY (root, package, version)
) WITHOUT ROWID;

CREATE TABLE surveys (
    root INTEGER PRIMARY KEY,
    asked_ns INTEGER NOT NULL
);
"""

# No table is other, but rows of symlinks and directories have flags from 64 on, which an earlier program can't read.
_VERSION_5 = ""

MIGRATIONS: tuple[Migration, ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
