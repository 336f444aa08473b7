"""Findings and counters: what a person should look at, and what status and state.json count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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
    """Findings of all rules, kept until they are cleared. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_finding(self, rule: str, key: str, message: str, path: str | None, now_ns: int) -> None:
        """Raise a finding, or renew it: the newest message and path stand, the first time stays."""
        self._database.execute(
            "INSERT INTO findings (rule, key, message, path, first_ns, last_ns, count) VALUES (?, ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT DO UPDATE SET message = excluded.message, path = excluded.path, last_ns = excluded.last_ns,"
            " count = count + 1",
            (rule, key, message, None if path is None else encode(path), now_ns, now_ns),
        )

    def clear(self, rule: str, key: str) -> bool:
        """Clear a finding; False if there was none."""
        with self._database.transaction() as connection:
            gone = connection.execute("DELETE FROM findings WHERE rule = ? AND key = ?", (rule, key)).rowcount
        return gone > 0

    def all(self, rule: str | None = None) -> list[Finding]:
        """All findings, or one rule's, oldest first."""
        rows = self._database.execute(
            "SELECT rule, key, message, path, first_ns, last_ns, count FROM findings"
            " WHERE ?1 IS NULL OR rule = ?1 ORDER BY first_ns, rule, key",
            (rule,),
        )
        return [
            Finding(owner, key, message, None if path is None else decode(path), first, last, times)
            for owner, key, message, path, first, last, times in rows
        ]

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's findings to its new name."""
        self._database.execute("UPDATE OR REPLACE findings SET rule = ? WHERE rule = ?", (new, old))


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
