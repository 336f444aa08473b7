"""What somebody is to be told, as it is kept: written down together with what it is about, gone once it is told.

A notice has a place by its rule, its event and its key: one that comes again before it was told takes the place of the
former. So what isn't told is bounded by what there is to tell. ``seq`` grows with each writing, so that what was
renewed while it was being told is told once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from filewatchd.model import Entry, Event
from filewatchd.notation import fit_text
from filewatchd.state.database import Database
from filewatchd.state.rows import decode, encode

SHOWN = 100  # entries of a notice; the others are counted
_MOST = 10_000  # kept for one event of a rule; then the oldest go
_LONGEST = 2000  # characters of a message

Scope = tuple[str, Event]  # a rule's event


class Taken(NamedTuple):
    """Notices that are about to be told. ``last``: the newest one's number."""

    entries: tuple[Entry, ...]
    more: int
    last: int


class Notices:
    """Those of all rules. ``wanted`` says of what somebody wants to hear. Every method may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.wanted: frozenset[Scope] = frozenset()
        self.news: set[Scope] = set()  # written since somebody looked; what was rolled back may be among them
        self.awake: Callable[[], None] = lambda: None
        (newest,) = database.execute("SELECT max(seq) FROM notices")[0]
        self._seq = newest or 0

    def add(self, rule: str, event: Event, entry: Entry) -> None:
        """Write down what is to be told, if anybody wants to hear it."""
        if (rule, event) not in self.wanted:
            return
        self._seq += 1
        path = None if entry.path is None else encode(entry.path)
        row = rule, event, fit_text(entry.key), fit_text(entry.message[:_LONGEST]), path, *entry[3:], self._seq
        self._database.execute("REPLACE INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        self.news.add((rule, event))
        self.awake()

    def take(self, rule: str, event: Event) -> Taken | None:
        """All that there is to tell, oldest first; None if there is nothing."""
        rows = self._database.execute(
            "SELECT key, message, path, first_ns, last_ns, times, job, seq FROM notices WHERE rule = ? AND event = ?"
            " ORDER BY seq",
            (rule, event),
        )
        entries = tuple(
            Entry(key, message, None if path is None else decode(path), first, last, times, job)
            for key, message, path, first, last, times, job, _ in rows[:SHOWN]
        )
        return Taken(entries, len(rows) - len(entries), rows[-1][7]) if rows else None

    def told(self, rule: str, event: Event, last: int) -> None:
        """These have been told, but those that came after the one of this number."""
        self._database.execute("DELETE FROM notices WHERE rule = ? AND event = ? AND seq <= ?", (rule, event, last))

    def trim(self, rule: str, event: Event) -> int:
        """Keep the newest ones; how many went."""
        statement = (
            "DELETE FROM notices WHERE rule = ?1 AND event = ?2 AND seq <= (SELECT seq FROM notices WHERE rule = ?1"
            f" AND event = ?2 ORDER BY seq DESC LIMIT 1 OFFSET {_MOST})"
        )
        with self._database.transaction() as connection:
            return connection.execute(statement, (rule, event)).rowcount

    def waiting(self) -> dict[Scope, int]:
        """How many there are to tell, by rule and event."""
        rows = self._database.execute("SELECT rule, event, count(*) FROM notices GROUP BY rule, event")
        return {(rule, Event(event)): count for rule, event, count in rows}

    def want(self, wanted: Sequence[Scope]) -> None:
        """Somebody wants to hear of these, and of nothing else: what is left of others will never be told."""
        self.wanted = frozenset(wanted)
        for scope in self.waiting().keys() - self.wanted:
            self._database.execute("DELETE FROM notices WHERE rule = ? AND event = ?", scope)

    def rename_rule(self, old: str, new: str) -> None:
        """Hand a rule's to its new name."""
        self._database.execute("UPDATE OR REPLACE notices SET rule = ? WHERE rule = ?", (new, old))


class Failure(NamedTuple):
    """A rule that doesn't work. ``times``: jobs that have failed since."""

    key: str
    message: str
    since_ns: int
    times: int


class Failing:
    """The rules that don't work, over restarts. Every method but `all` may raise `StateError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.execute("SELECT rule, key, message, since_ns, times FROM failing")
        self._known = {rule: Failure(*row) for rule, *row in rows}

    def get(self, rule: str) -> Failure | None:
        """What is wrong with a rule; asked of the database only if something was ever wrong."""
        if rule not in self._known:
            return None
        rows = self._database.execute("SELECT key, message, since_ns, times FROM failing WHERE rule = ?", (rule,))
        return Failure(*rows[0]) if rows else None

    def put(self, rule: str, failure: Failure) -> None:
        """A rule doesn't work."""
        self._known[rule] = failure
        self._database.execute("REPLACE INTO failing VALUES (?, ?, ?, ?, ?)", (rule, *failure))

    def drop(self, rule: str) -> None:
        """It works again, or is none any more."""
        self._database.execute("DELETE FROM failing WHERE rule = ?", (rule,))

    def rules(self) -> set[str]:
        """Those that were ever failing in this life, or when it began."""
        return set(self._known)

    def left(self, rule: str) -> int:
        """How many of a rule's jobs have failed for good with paths that still wait for somebody."""
        statement = "SELECT count(*) FROM jobs WHERE rule = ? AND open > 0 AND state = 'failed'"
        return int(self._database.execute(statement, (rule,))[0][0])

    def rename_rule(self, old: str, new: str) -> None:
        """Hand it to the rule's new name."""
        self._database.execute("UPDATE OR REPLACE failing SET rule = ? WHERE rule = ?", (new, old))
        if old in self._known:
            self._known[new] = self._known.pop(old)
