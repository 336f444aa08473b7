"""Findings and counters: what a person should look at, and what status and state.json count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from filewatchd.jobs.notices import Notices
from filewatchd.model import Entry, Event, Found
from filewatchd.state.database import Database
from filewatchd.state.rows import decode, encode


class Finding(NamedTuple):
    """Something a person should look at. ``times``: how often it was raised since ``first_ns``."""

    rule: str
    key: str
    message: str
    path: str | None
    first_ns: int
    last_ns: int
    times: int


class Findings:
    """Findings of all rules, kept until they are cleared. Every method may raise `StateError`.

    One that is new, or says something new, is a notice; so is its end, if it ends by itself.
    """

    def __init__(self, database: Database, notices: Notices | None = None) -> None:
        self._database = database
        self._notices = notices or Notices(database)

    def raise_finding(self, rule: str, key: str, message: str, path: str | None, now_ns: int) -> None:
        """Raise a finding, or renew it: the newest message and path stand, the first time stays."""
        self.raise_all(rule, [Found(key, message, path)], now_ns)

    def raise_all(self, rule: str, found: Iterable[Found], now_ns: int) -> None:
        """Raise or renew several at once: all of them or none."""
        with self._database.transaction():
            for each in found:
                self._raise(rule, each, now_ns)

    def _raise(self, rule: str, said_now: Found, now_ns: int) -> None:
        found = said_now._replace(key=storable(said_now.key), message=storable(said_now.message))
        known = self._database.execute(
            "SELECT message, first_ns, count FROM findings WHERE rule = ? AND key = ?", (rule, found.key)
        )
        said, first_ns, times = known[0] if known else (None, now_ns, 0)
        self._database.execute(
            "REPLACE INTO findings (rule, key, message, path, first_ns, last_ns, count) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (rule, *found[:2], None if found.path is None else encode(found.path), first_ns, now_ns, times + 1),
        )
        if said != found.message:
            self._notices.add(rule, Event.FINDING, Entry(*found, first_ns, now_ns, times + 1))

    def clear(self, rule: str, key: str, now_ns: int | None = None) -> bool:
        """Clear a finding; False if there was none. ``now_ns``: it ends by itself, and whoever was told is told so."""
        key = storable(key)
        if not self._one(rule, key):  # as nearly always: a look costs a tenth of a transaction
            return False
        with self._database.transaction() as connection:
            known = self._one(rule, key) if now_ns is not None else []
            gone = connection.execute("DELETE FROM findings WHERE rule = ? AND key = ?", (rule, key)).rowcount
            for finding in known:
                entry = Entry(key, finding.message, finding.path, finding.first_ns, now_ns or 0, finding.times)
                self._notices.add(rule, Event.RECOVERY, entry)
        return gone > 0

    def _one(self, rule: str, key: str) -> list[Finding]:
        rows = self._database.execute(
            "SELECT rule, key, message, path, first_ns, last_ns, count FROM findings WHERE rule = ? AND key = ?",
            (rule, key),
        )
        return [_read(row) for row in rows]

    def all(self, rule: str | None = None) -> list[Finding]:
        """All findings, or one rule's, oldest first."""
        rows = self._database.execute(
            "SELECT rule, key, message, path, first_ns, last_ns, count FROM findings"
            " WHERE ?1 IS NULL OR rule = ?1 ORDER BY first_ns, rule, key",
            (rule,),
        )
        return [_read(row) for row in rows]

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's findings to its new name."""
        self._database.execute("UPDATE OR REPLACE findings SET rule = ? WHERE rule = ?", (new, old))


def _read(row: tuple[Any, ...]) -> Finding:
    rule, key, message, path, first, last, times = row
    return Finding(rule, key, message, None if path is None else decode(path), first, last, times)


def storable(text: str) -> str:
    """Text that may name a path of any bytes, as SQLite takes it."""
    return text.encode("utf-8", "backslashreplace").decode()


class Counters:
    """Counters of all rules, added to in batches by whoever keeps them in memory. May raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, increments: Mapping[tuple[str, str], int]) -> None:
        """Add to counters, by rule and name; those not known yet start at 0."""
        self._database.execute_many(
            "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            [(rule, name, value) for (rule, name), value in increments.items()],
        )

    def all(self) -> dict[str, dict[str, int]]:
        """Every rule's counters."""
        found: dict[str, dict[str, int]] = {}
        for rule, name, value in self._database.execute("SELECT rule, name, value FROM counters ORDER BY rule, name"):
            found.setdefault(rule, {})[name] = value
        return found

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's counters to its new name, which adds them to its own."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT name, value FROM counters WHERE rule = ?", (old,)).fetchall()
            connection.execute("DELETE FROM counters WHERE rule = ?", (old,))
            self.add({(new, name): value for name, value in rows})
