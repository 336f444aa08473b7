"""What journal.db holds. A new version is a new entry at the end of `MIGRATIONS`; entries never change.

Paths are BLOBs (any bytes but NUL may be in a name). An inode number is stored as signed 64 bits, two's complement.
Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x46575744  # "FWWD"

Migration = str | Callable[[sqlite3.Connection], None]

_VERSION_1 = """
CREATE TABLE baselines (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    root BLOB NOT NULL,
    selection TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    device INTEGER NOT NULL,
    fsid TEXT NOT NULL,
    parameters TEXT NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX baselines_scope ON baselines (rule, root, selection) WHERE dropped = 0;

CREATE TABLE manifest (
    baseline INTEGER NOT NULL,
    path BLOB NOT NULL,
    ino INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    PRIMARY KEY (baseline, path)
) WITHOUT ROWID;
CREATE INDEX manifest_links ON manifest (baseline, ino) WHERE flags & 2;

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    trigger TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    started_ns INTEGER NOT NULL,
    finished_ns INTEGER,
    until_ns INTEGER,
    total INTEGER NOT NULL,
    ok INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    resume INTEGER NOT NULL DEFAULT 0,
    open INTEGER NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '',
    work BLOB,
    shown BLOB,
    story BLOB,
    output BLOB
);

CREATE TABLE steps (
    job INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;

CREATE TABLE timers (
    rule TEXT NOT NULL,
    action TEXT NOT NULL,
    name TEXT NOT NULL,
    due_ns INTEGER NOT NULL,
    last_ns INTEGER,
    spec TEXT NOT NULL,
    PRIMARY KEY (rule, action, name)
) WITHOUT ROWID;

CREATE TABLE findings (
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    message TEXT NOT NULL,
    path BLOB,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (rule, key)
) WITHOUT ROWID;

CREATE TABLE counters (
    rule TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (rule, name)
) WITHOUT ROWID;

CREATE TABLE action_tables (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    action TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (rule, action)
);
"""

_VERSION_2 = """
CREATE TABLE holds (
    rule TEXT PRIMARY KEY,
    hold TEXT NOT NULL,
    why TEXT NOT NULL,
    digest TEXT NOT NULL,
    since_ns INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE expectations (
    rule TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    since_ns INTEGER NOT NULL,
    came_ns INTEGER
) WITHOUT ROWID;
"""

# From bit 3 on, a manifest row's flags are the number of its place; 0 in rows of before: wherever its path leads.
_VERSION_3 = """
CREATE TABLE places (
    baseline INTEGER NOT NULL,
    number INTEGER NOT NULL,
    inside BLOB NOT NULL,
    filesystem TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    PRIMARY KEY (baseline, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX places_scope ON places (baseline, inside, filesystem);
ALTER TABLE baselines DROP COLUMN device;
ALTER TABLE baselines DROP COLUMN fsid;
"""

# `changes`: a row is a batch, a change's number is first + its place in it. `attempts`: tries that were repeated; the
# last one is in its job's row. `jobs.cancelled_by`: the user who cancelled it, whose open
# paths then wait for somebody. `pauses.counted`: what the rule had discarded before.
_VERSION_4 = """
CREATE TABLE changes (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    rule TEXT NOT NULL,
    job INTEGER NOT NULL,
    sources BLOB NOT NULL,
    work BLOB NOT NULL
);

CREATE TABLE attempts (
    job INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_ns INTEGER NOT NULL,
    finished_ns INTEGER NOT NULL,
    resume INTEGER NOT NULL,
    counts BLOB NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN first_ns INTEGER;
ALTER TABLE jobs ADD COLUMN cancelled_by TEXT;

CREATE TABLE pauses (
    rule TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since_ns INTEGER NOT NULL,
    until_ns INTEGER,
    by TEXT NOT NULL,
    discard INTEGER NOT NULL,
    counted INTEGER NOT NULL
) WITHOUT ROWID;
"""

# `notices`: what somebody is to be told and hasn't been told yet; `seq` grows with each renewal. `failing`: rules that
# don't work, since when, and what was told of it.
_VERSION_5 = """
CREATE TABLE notices (
    rule TEXT NOT NULL,
    event TEXT NOT NULL,
    key TEXT NOT NULL,
    message TEXT NOT NULL,
    path BLOB,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    times INTEGER NOT NULL,
    job INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (rule, event, key)
) WITHOUT ROWID;
CREATE INDEX notices_order ON notices (rule, event, seq);

CREATE TABLE failing (
    rule TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    message TEXT NOT NULL,
    since_ns INTEGER NOT NULL,
    times INTEGER NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[Migration, ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
