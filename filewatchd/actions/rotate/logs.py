"""What the ledger keeps besides archives: of each log, since when it grows, and of folders, where they stand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from filewatchd.actions.base import Tables
from filewatchd.actions.rotate.together import Statement

Since = tuple[int, bool]  # when a log was rotated last, or first seen (ns); whether its schedule asks for it


class Logs:
    """Since when a log's live part grows, and whether its schedule asks for it. The table is the ledger's."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def since(self, live: str) -> Since | None:
        """(since_ns, asked) of a log."""
        return self.since_each([live]).get(live)

    def since_each(self, lives: Sequence[str]) -> dict[str, Since]:
        """The same of several; those of which nothing is known are left out."""
        marks = ", ".join("?" * len(lives))
        rows = self._tables.execute(
            f"SELECT live, since_ns, asked FROM {{logs}} WHERE live IN ({marks})", [os.fsencode(live) for live in lives]
        )
        return {os.fsdecode(live): (since_ns, bool(asked)) for live, since_ns, asked in rows}

    def known(self) -> list[tuple[str, int, bool]]:
        """(path, since_ns, asked) of all logs."""
        rows = self._tables.execute("SELECT live, since_ns, asked FROM {logs}")
        return [(os.fsdecode(live), since_ns, bool(asked)) for live, since_ns, asked in rows]

    def begun(self, live: str, since_ns: int) -> None:
        """A log was first seen."""
        self._tables.execute(*rotated(live, since_ns))

    def ask(self) -> list[str]:
        """The schedule's time has come: for every log. Returns them."""
        self._tables.execute("UPDATE {logs} SET asked = 1")
        return [os.fsdecode(live) for (live,) in self._tables.execute("SELECT live FROM {logs}")]

    def drop(self, live: str) -> None:
        """A log is gone."""
        self._tables.execute("DELETE FROM {logs} WHERE live = ?", (os.fsencode(live),))


class Points:
    """Where folders of logs and archives stand: see `standing`. The table is the ledger's."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        found = tables.execute("SELECT folder, point FROM {points}")
        self._points = {os.fsdecode(folder): os.fsdecode(point) for folder, point in found}

    def of(self, folder: str) -> str:
        """Where something is to be mounted for a folder; empty if nothing need be."""
        return self._points.get(folder, "")

    def stands(self, folder: str, point: str) -> None:
        """A folder's filesystem is mounted there; written with whatever is made durable next."""
        if self.of(folder) != point:
            self._tables.execute("REPLACE INTO {points} VALUES (?, ?)", (os.fsencode(folder), os.fsencode(point)))
            self._points[folder] = point


def rotated(live: str, since_ns: int) -> Statement:
    """Write that a log was rotated, or first seen, and that no schedule asks for it."""
    return "REPLACE INTO {logs} VALUES (?, ?, 0)", (os.fsencode(live), since_ns)
